// The console's files and invented answers, for states that a real gateway reaches only after days or with several instances.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../../../dist/console/', import.meta.url));
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
const NAMES = ['connections', 'connects', 'closes', 'closes_1006', 'closes_1011', 'closes_1012', 'closes_1013', 'closes_4408', 'published', 'delivered',
  'publish_p50_us', 'publish_p99_us', 'memory_bytes', 'cpu_percent'];
const HEIGHTS = [7_724, 6.9, 2.5, 1.8, 0.1, 0, 0.2, 0.4, 812.4, 61_800, 2_100, 11_020, 412e6, 38];
const BOOT = Date.UTC(2026, 10, 21, 8, 0, 0);

/** A curve with a wave and a gap, the same at every call. */
const rows = (count, names) => Array.from({ length: count }, (_, at) => names.map((name) => {
  const height = HEIGHTS[NAMES.indexOf(name)] ?? 1;
  const isGap = at > count * 0.4 && at < count * 0.44;
  return isGap ? null : Number((height * (1 + 0.25 * Math.sin(at / 17) + 0.1 * Math.sin(at * 1.7))).toPrecision(6));
}));

const instance = (name, more = {}) => ({
  name, state: 'alive', age_ms: 300, version: '0.2.0', since: BOOT, phase: 'serving', connections: 7_724, connections_max: 19_600, users: 6_900, connects_per_s: 2,
  publishes_per_s: 812, publish_p99_us: 11_020, memory_bytes: 412_000_000, level: 'ok', ...more,
});

const part = (name, more = {}) => ({
  part: name, unit: 'looks', good: 1_203_344, bad: 2_148, excluded: 311, spent: 2_148, allowed: 6_027, now_ppm: 998_218, budget_left_ppm: 643_600,
  burn_1h_milli: 310, burn_6h_milli: 420, gone_s: null, state: 'kept', tiers: [], ...more,
});

const objective = (name, more = {}, parts = [part('attempt')]) => ({
  name, allowed_ppm: 5_000, period_days: 30, state: 'kept', worst: parts[0].part, measured_ppm: 999_000, provisional: false, parts, ...more,
});

const NOTHING = { good: 0, bad: 0, excluded: 0, spent: 0, allowed: 0, now_ppm: null, budget_left_ppm: null, burn_1h_milli: null, burn_6h_milli: null, state: 'no_events' };
const SPENT = { bad: 9_377, spent: 9_377, allowed: 6_027, now_ppm: 992_270, budget_left_ppm: -555_900, burn_1h_milli: 21_400, burn_6h_milli: 4_100, gone_s: 0, state: 'spent' };

const objectives = (isBad) => [
  objective('connection', isBad ? { state: 'spent' } : {}, isBad ? [part('attempt', SPENT), part('session', { unit: 'seconds' })] : undefined),
  objective('delivery', { allowed_ppm: 100, state: 'low', provisional: true }, [part('message', { budget_left_ppm: 61_000, gone_s: 780_000, state: 'low' })]),
  objective('latency', { allowed_ppm: 10_000 }, [part('reply')]),
  objective('health', { state: 'no_events' }, [part('canary', NOTHING)]),
];

const check = (more = {}) => ({
  status: 'pass', componentType: 'datastore', kind: 'postgres', state: 'ok', criticality: 'critical', since: BOOT, last_success: BOOT, looked_at: BOOT,
  latency_us: { p50: 1_408, p99: 4_096 }, breakers: { write: 'closed', read: 'closed' }, lost: [], ...more,
});

const down = (now) => ({ state: 'down', status: 'fail', since: now - 124_000, reference: 'k3f9x2', lost: ['publish', 'history'], breakers: { write: 'open', read: 'half_open' } });

const incident = (now, more = {}) => ({
  number: 12, alert: 'dependency/store', severity: 'critical', title: 'store is down', since: now - 124_000, reference: 'k3f9x2',
  text: 'Messages can be neither sent nor loaded. db-primary.chat.example:5432 refuses the connection (os error 111).', runbook: 'docs/outages.md#store',
  notified: [{ channel: 'pagerduty', at_ms: now - 120_000 }], ...more,
});

/** The states: `ok`, `down` (the store, with an incident), `drain`, `several` (three instances, one of them silent), `empty` (just started). */
const STATES = {
  ok: {}, several: { instances: 3 }, down: { isDown: true }, drain: { isDraining: true }, empty: { isEmpty: true },
};

function live(state, now) {
  const { instances = 1, isDown = false, isDraining = false, isEmpty = false } = STATES[state];
  const shown = isEmpty ? [] : objectives(isDown);
  return {
    instance: 'gw-1', boot: BOOT, version: '0.2.0', scope: 'operate', now, tick: 812_340,
    status: isDown
      ? { level: 'down', revision: 3, lost: ['publish', 'history'], message: 'Messages can be neither sent nor loaded.' }
      : { level: 'ok', revision: 1, lost: [] },
    status_since: isDown ? now - 124_000 : BOOT, connections_max: 19_600,
    series: { step_ms: 10_000, from: 812_340 - 1_800, names: NAMES, rows: isEmpty ? [] : rows(180, NAMES) },
    cluster: {
      now, complete: !isDown, leader: 'gw-1',
      instances: [
        instance('gw-1', isEmpty ? { connections: 0 } : {}),
        instance('gw-2-in-the-second-zone', { connections: 7_486, publish_p99_us: 13_000, url: 'https://gw-2.chat.example' }),
        instance('gw-3', { state: 'silent', age_ms: 14_000, level: 'down' }),
      ].slice(0, instances),
      totals: { instances, connections: 7_724 * instances },
    },
    health: {
      status: 'pass', admission: 'enforce',
      checks: { gateway: [check({ kind: 'gateway', criticality: 'optional', breakers: {} })], store: [check(isDown ? down(now) : {})], bus: [check({ kind: 'redis', criticality: 'optional' })] },
    },
    drain: drain(isDraining, now),
    slos: shown.map(({ name, state: word, parts: [worst] }) => ({
      name, state: word, left_ppm: worst.budget_left_ppm, burn_1h_milli: worst.burn_1h_milli, burn_6h_milli: worst.burn_6h_milli, gone_s: worst.gone_s,
    })),
    alerts: isDown ? [{ number: 12, severity: 'critical', title: 'store is down', since: now - 124_000, acknowledged: null }] : [],
    changes: isEmpty ? [] : [
      { id: 1, time: now - 1_700_000, kind: 'start', text: 'gateway started' },
      { id: 2, time: now - 400_000, kind: 'reload', text: 'reload applied' },
      ...(isDown ? [{ id: 3, time: now - 124_000, kind: 'dependency', text: 'store is down', reference: 'k3f9x2' }] : []),
      { id: 4, time: now - 60_000, kind: 'action', text: 'probe of store requested' },
      { id: 5, time: now - 30_000, kind: 'storm', text: '14200 clients returned in 18 s, most restart, p99 within 30 s' },
    ],
  };
}

const PLAN = { accept_ms: 3_000, spread_ms: 18_000, close_ms: 23_000, exit_ms: 28_000, return_ms: 10_000 };
const drain = (isDraining, now) => ({
  phase: 'serving', connections: 7_724, moved: 0, stragglers: 0, unfinished: { appends: 0, closes: 0, bytes: 0 }, plan: PLAN,
  ...(isDraining ? { phase: 'moving', cause: 'operator', since: now - 9_000, elapsed_ms: 9_000, connections: 4_713, moved: 3_011 } : {}),
});

const probes = (isDown, now) => Array.from({ length: 50 }, (_, at) => ({
  time: now - at * 2_000, latency_us: 1_200 + (at % 7) * 300, ok: !isDown || at > 9, output: 'db-primary.chat.example:5432: connection refused (os error 111)',
}));

const group = (now, more = {}) => ({
  fingerprint: '9f2c41d0', name: 'TypeError', message: "Cannot read properties of undefined (reading 'aPropertyWithQuiteALongNameThatNoLineHolds')", levels: ['message', 'thread'],
  count: 1_420, users: 64, users_more: true, releases: ['web 1.4.1', 'web 1.4.2'], since: now - 1.1e7, seen: now - 4_000,
  hours: Array.from({ length: 24 }, (_, at) => (at < 20 ? 0 : 30 * at)), muted_until: null, ...more,
});

const sample = () => ({
  message: "Cannot read properties of undefined (reading 'text')", component: 'Row\nList\nThread',
  stack: `TypeError: Cannot read properties of undefined (reading 'text')\n${Array.from({ length: 12 }, (_, at) => `    at Row (https://chat.example/assets/app-4f2a91c0.js:${at + 1}:5)`).join('\n')}`,
  context: { release: 'web 1.4.2', phase: 'online', route: '/rooms/:id/messages/:message' },
});

const ANSWERS = {
  '/slo': (state, now) => ({ judged: now, instance: 'gw-1', instances: state === 'several' ? 3 : 1, stored: true, objectives: objectives(state === 'down') }),
  '/alerts': (state, now) => ({
    judged: now, instance: 'gw-1', deployment: 'chat', mode: 'send', sends: true,
    incidents: state === 'empty' ? [] : [
      ...(state === 'down' ? [incident(now)] : []),
      incident(now, { number: 11, severity: 'warning', title: 'budget of delivery leaks', since: now - 9e6, end: { at_ms: now - 5e6, all_clear: true } }),
    ],
    silences: state === 'down' ? [{ number: 3, prefix: 'slo/delivery', from_ms: now, until_ms: now + 3_500_000, why: 'the bulk import of the old archive runs' }] : [],
    channels: state === 'empty' ? [] : [{ channel: 'pagerduty', waiting: 0, sent: now - 120_000, dead: 0 }],
  }),
  '/health/dependencies/store': (state, now) => ({
    name: 'store', now, ...check(state === 'down' ? down(now) : {}), address: 'postgres://chat:(hidden)@db-primary.chat.example:5432/chat?sslmode=verify-full',
    ...(state === 'down' ? { fault: 'refused', output: 'db-primary.chat.example:5432: connection refused (os error 111)', look_at: 'See whether PostgreSQL runs on that host and port, and what listen_addresses says.' } : {}),
    probes: probes(state === 'down', now),
    outages: [{ reference: 'k1x2aa', since: now - 3e7, lasted_ms: 360_000, fault: 'timeout', output: 'no answer within 1000 ms', look_at: 'See whether the server is stopped or overloaded.' }],
  }),
  '/client-errors': (state, now) => ({
    groups: state === 'empty' ? [] : [group(now), group(now, { fingerprint: '00c0ffee', name: 'ChunkLoadError', message: 'Loading chunk 17 failed.', levels: ['app', 'other'], count: 3, users: 2, users_more: false, muted_until: now + 8e7 })],
    groups_max: 512, dropped: { client: 12, new_groups: 0 },
  }),
  '/client-errors/9f2c41d0': (_, now) => ({ ...group(now), first: sample(), newest: sample() }),
  '/flags': (state) => ({
    flags: [
      { name: 'markdown', rollout: 25, users: ['ada', 'a-user-with-a-very-long-name-without-a-blank@chat.example'], clients: ['web >=1.4.0'], off: state === 'down' },
      { name: 'seawall.move', rollout: 100, users: [], clients: [], off: false },
    ],
  }),
  '/relay': (state, now) => ({
    now_ms: now, unrouted: state === 'down' ? 2 : 0, complete: true,
    routes: state === 'empty' ? [] : [
      { route: 'assistant', dependency: 'assistant', concurrency: 32, waiting: state === 'down' ? 1_204 : 1, oldest_ms: now - (state === 'down' ? 754_000 : 900), attempts: 7, claims: 4, dead: 3, in_flight: 4, paused: state === 'down', requests: { taken: 120_403, asked: 2, failed: 71, unreached: 9, refused: 3, gone: 1 } },
      { route: 'a-route-with-a-name-of-thirty-two', dependency: 'log', concurrency: 8, waiting: 0, oldest_ms: null, attempts: 0, claims: 0, dead: 0, in_flight: 0, paused: false, requests: {} },
    ],
    stuck: state === 'down' ? [{ channel: 'thread.0190a5c2-7d4e-7b1a-9f7e-2c1d0e9b8a76-with-a-long-name-without-a-blank', cursor: 57, head: 9_007, attempts: 71, oldest_ms: now - 754_000 }] : [],
  }),
  '/relay/dead': (state, now) => ({
    dead: state === 'empty' ? [] : [
      { number: 8, route: 'assistant', channel: 'thread.7', offset: 58, through: 58, cause: 'refused', status: 422, time_ms: now - 86_400_000 },
      { number: 9, route: 'assistant', channel: 'thread.0190a5c2-7d4e-7b1a-9f7e-2c1d0e9b8a76-with-a-long-name-without-a-blank', offset: 1, through: 4_711, cause: 'not_delivered', status: null, time_ms: now - 60_000 },
    ],
    next: null,
  }),
  '/settings': (state) => ({
    file: '/etc/seawall/seawall.toml',
    settings: [
      { section: 'server', key: 'listen', value: '"[::]:8080"', origin: '/etc/seawall/seawall.toml:3', applies: 'restart' },
      { section: 'store', key: 'url', value: '"postgres://chat:(hidden)@db-primary.chat.example:5432/chat?sslmode=verify-full"', origin: 'variable SEAWALL_STORE_URL', applies: 'restart' },
      { section: 'limits', key: 'connections', value: '20000', origin: state === 'empty' ? 'default' : '/etc/seawall/seawall.toml:12', applies: 'reload' },
      { section: 'admin', key: 'url', value: null, origin: 'default', applies: 'restart' },
    ],
  }),
  '/lookup/user/ann': (_, now) => ({
    instance: 'gw-1',
    sessions: [
      { connection: '77367f6800000100', user: 'ann', client: 'seawall-client/0.1.0', address: '192.0.2.7', opened_unix_ms: now - 4e6, state: 'open' },
      { connection: '77367f6800000101', user: 'ann', client: '', address: '2001:db8:85a3:8d3:1319:8a2e:370:7348', opened_unix_ms: now - 9e6, state: 'ended', ended_unix_ms: now - 4e6, code: 4408, reason: 'write_stalled', reference: '' },
    ],
  }),
  '/users/ann': () => ({ user: 'ann', connections: [{}, {}], complete: true }),
};

/** A few lines of /metrics. */
const METRICS = [
  'seawall_flag_clients{flag="markdown"} 1930',
  ...['lost', 'restart', 'silent'].map((cause, at) => `seawall_client_returns_total{cause="${cause}"} ${[41_200, 9_100, 700][at]}`),
  'seawall_client_returns_unproven_total 12', 'seawall_clients_not_returned_total 311',
  ...[['0.5', 9_000], ['1', 22_000], ['2', 39_000], ['5', 47_000], ['10', 49_500], ['30', 50_600], ['60', 50_800], ['300', 50_950], ['+Inf', 51_000]].map(([le, count]) => `seawall_client_return_seconds_bucket{le="${le}"} ${count}`),
  ...[['1', 42_000], ['2', 47_000], ['3', 49_000], ['6', 50_700], ['12', 50_990], ['+Inf', 51_000]].map(([le, count]) => `seawall_client_return_attempts_bucket{le="${le}"} ${count}`),
  'seawall_client_attempts_failed_total{how="never_opened"} 8100', 'seawall_client_attempts_failed_total{how="bye_1011"} 400',
  'seawall_clients{version="seawall-client/0.1.0-with-a-long-name-of-the-application web/1.4.2"} 6120', 'seawall_clients{version="other"} 4',
].join('\n');

/** Serves the console in one of the states. */
export class ConsoleStub {
  state = 'ok';

  static async start(t) {
    const stub = new ConsoleStub();
    const server = http.createServer((request, answer) => stub.#serve(request, answer));
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    stub.url = `http://127.0.0.1:${server.address().port}/console`;
    t.after(() => new Promise((closed) => {
      server.close(closed);
      server.closeAllConnections();
    }));
    return stub;
  }

  #serve(request, answer) {
    const url = new URL(request.url, 'http://localhost');
    const file = /^\/console\/(assets\/[\w.-]+)?$/.exec(url.pathname);
    if (file !== null) {
      const name = file[1] ?? 'index.html';
      answer.setHeader('Content-Type', TYPES[name.split('.').pop()]);
      return answer.end(readFileSync(`${DIST}${name}`));
    }
    if (url.pathname === '/metrics') return answer.end(this.state === 'empty' ? '' : METRICS);
    const body = this.#answer(url);
    answer.statusCode = body === undefined ? 404 : request.method === 'POST' ? 201 : 200;
    answer.setHeader('Content-Type', 'application/json');
    answer.end(JSON.stringify(body ?? { error: 'not_found', message: 'no such path' }));
  }

  #answer({ pathname, searchParams }) {
    const now = Date.now();
    if (pathname === '/console/session') return { session: 'a-key', scope: 'operate', expires_ms: 28_800_000, idle_ms: 1_800_000 };
    if (pathname === '/console/live') {
      const answer = live(this.state, now);
      if (searchParams.has('since')) {
        Object.assign(answer.series, { step_ms: 1_000, from: Number(searchParams.get('since')), rows: [] });
        answer.changes = [];
      }
      return answer;
    }
    if (pathname === '/console/series') {
      const [step, points] = [Number(searchParams.get('step')), Number(searchParams.get('points'))];
      const names = searchParams.get('names').split(',');
      return { now, tick: 3_000_000, series: { step_ms: step * 1_000, from: 3_000_000 - step * points, names, rows: this.state === 'empty' ? [] : rows(points, names) } };
    }
    return ANSWERS[pathname]?.(this.state, now);
  }
}
