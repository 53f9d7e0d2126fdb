import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unanswered } from '../src/api.ts';
import { axisTime, budget, burn, bytes, lasting, micros, pair, percent, short } from '../src/format.ts';
import { cursor, isAhead, merge, pause } from '../src/live.ts';
import { buckets, samples } from '../src/metrics.ts';
import { within } from '../src/pages/clients.tsx';
import { downtime } from '../src/pages/dependencies.tsx';
import { phases } from '../src/pages/drain.tsx';
import { users, worst } from '../src/pages/errors.tsx';
import { guess } from '../src/pages/lookup.tsx';
import { isReplayable, outcomes, replayed, routeState, tried } from '../src/pages/relay.tsx';
import { matching } from '../src/pages/settings.tsx';
import { ceiling, nearest, path } from '../src/plot.tsx';
import { link, readRoute, spanOf } from '../src/route.ts';
import type { DeadLetter, Drain, LiveAnswer, RelayRoute } from '../src/types.ts';

test('numbers have at most three significant digits, and a missing one is a dash', () => {
  assert.deepEqual([0, 0.254, 9.995, 15.46, 999, 1_597.129, 15_460, 1_000_000, -12.3, null, Number.NaN].map(short),
    ['0', '0.25', '10', '15.5', '999', '1,597', '15.5 k', '1 M', '-12.3', '–', '–']);
  assert.deepEqual([bytes(512), bytes(412e6), bytes(null)], ['512 B', '393 MiB', '–']);
  assert.deepEqual([micros(42), micros(1_408), micros(2.5e6), micros(undefined)], ['42 µs', '1.41 ms', '2.5 s', '–']);
  assert.deepEqual([pair(2_100, 11_020), pair(900, 2e6), pair(null, null)], ['2.1 / 11 ms', '0.9 ms / 2 s', '– / –']);
});

test('a budget is never rounded up to all, down to nothing, or clamped at nothing', () => {
  assert.deepEqual([1e6, 999_400, 643_600, 4_000, 0, -555_900, -1e8, null].map((ppm) => budget(ppm)),
    ['100 %', '99 %', '64 %', '< 1 %', '0 %', '−56 %', '< −999 %', '–']);
  assert.deepEqual([burn(21_400), burn(null), percent(995_000), percent(null)], ['21.4 ×', '–', '99.5 %', '–']);
});

test('durations and times are as long as they must be', () => {
  assert.deepEqual([0, 119_999, 120_000, 7_200_000, 172_800_000, -5].map(lasting), ['0 s', '119 s', '2 min', '2 h', '2 d', '0 s']);
  const noon = new Date(2026, 10, 30, 12, 5, 9).getTime();
  assert.deepEqual([axisTime(noon, 600_000), axisTime(noon, 10_800_000), axisTime(noon, 2_678_400_000)], ['12:05:09', '12:05', '30 Nov']);
});

const answer = (from: number, step_ms: number, rows: (number | null)[][], tick: number): LiveAnswer =>
  ({ now: tick * 1_000, tick, series: { step_ms, from, names: ['connections'], rows } } as unknown as LiveAnswer);

test('rows of answers join without a gap or a double, and old ones go', () => {
  const first = answer(100, 10_000, [[1], [2]], 121);
  assert.equal(cursor(first), 120);
  const whole = merge({ times: [5], values: { connections: [9] } }, first, true);
  assert.deepEqual(whole, { times: [110_000, 120_000], values: { connections: [1, 2] } });
  const next = merge(whole, answer(120, 1_000, [[3], [null]], 122), false);
  assert.deepEqual(next, { times: [110_000, 120_000, 121_000, 122_000], values: { connections: [1, 2, 3, null] } });
  assert.deepEqual(merge(next, answer(120, 1_000, [[3], [null]], 122), false), next, 'a repeated answer adds nothing');
  const later = merge(next, answer(1_981, 1_000, [[4]], 1_982), false);
  assert.deepEqual([later.times[0], later.values['connections']?.length], [122_000, 2], 'half an hour and a minute are kept');
});

test('points begin again when the clock of the gateway was set back', () => {
  const points = { times: [99_000, 102_000], values: {} };
  assert.deepEqual([105, 102, 100, 99].map((tick) => isAhead(points, answer(0, 1_000, [], tick))), [false, false, false, true]);
  assert.equal(isAhead({ times: [], values: {} }, answer(0, 1_000, [], 1)), false);
});

test('an order without an answer may have been done, and a question is only late', () => {
  const late = new DOMException('signal timed out', 'TimeoutError') as Error;
  assert.match(unanswered('POST', late).message, /within 10 s: it may have been done/);
  assert.equal(unanswered('GET', late).message, 'no answer within 5 s');
  const refused = new TypeError('Failed to fetch');
  assert.equal(unanswered('POST', refused), refused);
});

test('failures wait longer, up to half a minute', () => {
  assert.deepEqual([0, 1, 2, 3, 5, 9].map(pause), [2_000, 2_000, 4_000, 8_000, 30_000, 30_000]);
});

test('a gap breaks a line, and a value between gaps is a dot', () => {
  assert.equal(path([1, 2, null, 3, null], (at) => at, (value) => value), 'M0.0 1.0L1.0 2.0M3.0 3.0h.01');
  assert.deepEqual([ceiling(0), ceiling(6_324), ceiling(10), ceiling(0.27)].map((top) => Number(top.toPrecision(3))), [1, 8_000, 10, 0.3]);
  assert.deepEqual([nearest([0, 10, 20], 14), nearest([0, 10, 20], 99), nearest([], 5)], [1, 2, 0]);
});

test('the hash names the page and its choices', () => {
  assert.equal(link('dependencies', { name: 'my store', span: undefined }), '#/dependencies?name=my+store');
  const { page, options } = readRoute('#/dependencies?name=my+store&span=3h');
  assert.deepEqual([page, options.get('name'), spanOf(options), readRoute('#/nonsense').page], ['dependencies', 'my store', '3h', 'overview']);
  assert.deepEqual(['span=9y', 'span=toString'].map((query) => spanOf(new URLSearchParams(query))), ['10m', '10m']);
});

test('the kind of a name is guessed from its form', () => {
  assert.deepEqual(['77367f6800000100', 'k3f9x2', 'ann', 'marine'].map(guess), ['connection', 'reference', 'user', 'user']);
});

test('outages of the last day are shares of it, however short', () => {
  const day = 86_400_000;
  const outage = (since: number, lasted_ms: number) => ({ since, lasted_ms, reference: '', fault: '', output: '', look_at: '' });
  const parts = downtime([outage(day * 9, 1), outage(day * 9.5, day / 4), outage(day, day)], day * 9.9, day * 10);
  const rounded = parts.map(({ left, width }) => [left, width].map((share) => Number(share.toFixed(3))));
  assert.deepEqual(rounded, [[0, 0.003], [0.5, 0.25], [0.9, 0.1]]);
});

test('metrics are read by their whole name, and buckets have counts of their own', () => {
  const text = [
    '# TYPE seawall_clients gauge', 'seawall_clients{version="web 1.4\\"x\\\\"} 7', 'seawall_clients{version="other"} 0', 'seawall_clients_not_returned_total 3',
    'seawall_s_bucket{le="1"} 2', 'seawall_s_bucket{le="30"} 9', 'seawall_s_bucket{le="+Inf"} 10', '# EOF',
  ].join('\n');
  assert.deepEqual(samples(text, 'clients'), [{ labels: { version: 'web 1.4"x\\' }, value: 7 }, { labels: { version: 'other' }, value: 0 }]);
  assert.deepEqual(samples(text, 'clients_not_returned_total'), [{ labels: {}, value: 3 }]);
  const parts = buckets(text, 's');
  assert.deepEqual(parts, [{ until: 1, count: 2 }, { until: 30, count: 7 }, { until: Infinity, count: 1 }]);
  assert.deepEqual([within(parts, 30), within(parts, 1), within([], 1)], ['90 %', '20 %', '–']);
});

test('phases of a drain follow each other', () => {
  const plan = { accept_ms: 3_000, spread_ms: 18_000, close_ms: 23_000, exit_ms: 28_000, return_ms: 10_000 };
  assert.deepEqual(phases({ plan } as Drain), { accepting: [0, 3_000], moving: [3_000, 23_000], closing: [23_000, 28_000] });
});

test('a group of errors is as bad as its worst, and says if it has more users than are counted', () => {
  assert.deepEqual([worst(['message', 'chat']), worst(['other']), worst([])], ['chat', 'other', 'other']);
  assert.deepEqual([users({ users: 3, users_more: false }), users({ users: 64, users_more: true })], ['3', '64+']);
});

test('settings are found by all words, and without any by their origin', () => {
  const setting = (section: string, key: string, value: string | null, origin: string) => ({ section, key, value, origin, applies: 'reload' });
  const all = [setting('limits', 'connections', '7', 'seawall.toml:2'), setting('limits', 'channels', '9', 'default'), setting('admin', 'url', null, 'default')];
  const found = (text: string) => matching(all, text).map(({ key }) => key);
  assert.deepEqual([found(' '), found('LIMITS'), found('limits 9'), found('admin.url'), found('none of them')], [['connections'], ['connections', 'channels'], ['channels'], ['url'], []]);
});

test('a route that waits or pauses says so in a word', () => {
  const route = { paused: false, oldest_ms: null } as RelayRoute;
  assert.deepEqual(routeState(route, 100_000), ['ok', 'sends']);
  assert.deepEqual(routeState({ ...route, oldest_ms: 40_000 }, 100_000), ['ok', 'sends'], 'a minute is no delay');
  assert.deepEqual(routeState({ ...route, oldest_ms: 39_999 }, 100_000), ['degraded', 'behind']);
  assert.deepEqual(routeState({ ...route, paused: true, outage: 'k3f9x2', oldest_ms: 1 }, 100_000), ['down', 'paused by 410']);
  assert.deepEqual(routeState({ ...route, outage: 'k3f9x2' }, 100_000), ['down', 'backend down'], 'no request is sent in an outage');
  assert.deepEqual(routeState({ ...route, outage: null }, 100_000), ['ok', 'sends']);
  assert.deepEqual([outcomes({ taken: 1_204, failed: 0, gone: 1 }), outcomes({})], ['taken 1,204, gone 1', '–']);
  assert.equal(tried({ route: 'a', outcome: 'refused', took_ms: 12, status: 422 }), '422 in 12 ms: refused');
  assert.equal(tried({ route: 'a', outcome: 'later', took_ms: 3, error: 'connection refused' }), 'no response in 3 ms: connection refused');
});

test('a replay counts what the backend answered, and what retention removed has none', () => {
  const sent = [{ offset: 58, outcome: 'taken' }, { offset: 60, outcome: 'refused' }, { offset: 62, outcome: 'taken' }];
  const replay = { route: 'a', channel: 'thread.7', sent, next: null };
  assert.equal(replayed(replay), 'thread.7: 2 taken, 1 refused');
  assert.equal(replayed({ ...replay, next: 64 }), 'thread.7: 2 taken, 1 refused; the rest begins at 64');
  assert.equal(replayed({ ...replay, sent: [] }), 'thread.7: nothing is left to send');
  const letter = { route: 'a', cause: 'refused' } as DeadLetter;
  assert.deepEqual([letter, { ...letter, cause: 'expired' }, { ...letter, route: '' }].map(isReplayable), [true, false, false]);
});
