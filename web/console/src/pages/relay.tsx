import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { clock, lasting, whole } from '../format.ts';
import { Ago, Card, Confirm, Fault, State, Table, useAnswer, type Order } from '../parts.tsx';
import type { DeadLetter, RelayReplay, RelayReport, RelayRoute, RelayTry } from '../types.ts';
import type { PageProps } from './overview.tsx';

/** A message that waits for longer than this is worth a look. */
const OLD_MS = 60_000;

/** The state of a route as a sign: gone, down, behind, or well. */
export function routeState(route: RelayRoute, now: number): [string, string] {
  if (route.paused) return ['down', 'paused by 410'];
  if (route.outage) return ['down', 'backend down'];
  if (route.oldest_ms !== null && now - route.oldest_ms > OLD_MS) return ['degraded', 'behind'];
  return ['ok', 'sends'];
}

/** The requests by outcome, without outcomes that never happened. */
export const outcomes = (requests: Record<string, number>): string => Object.entries(requests).filter(([, count]) => count > 0).map(([word, count]) => `${word} ${whole(count)}`).join(', ') || '–';

/** The result of a test as a sentence. */
export const tried = (one: RelayTry): string => (one.status === undefined ? `no response in ${one.took_ms} ms: ${one.error ?? ''}` : `${one.status} in ${one.took_ms} ms: ${one.outcome}`);

/** The result of a replay as a sentence. */
export function replayed({ channel, sent, next }: RelayReplay): string {
  const counts = new Map<string, number>();
  sent.forEach(({ outcome }) => counts.set(outcome, (counts.get(outcome) ?? 0) + 1));
  const words = [...counts].map(([word, count]) => `${whole(count)} ${word}`).join(', ') || 'nothing is left to send';
  return `${channel}: ${words}${next === null ? '' : `; the rest begins at ${next}`}`;
}

/** A dead letter that may be sent again: retention has not removed it, and there is a route. */
export const isReplayable = (one: DeadLetter): boolean => one.cause !== 'expired' && one.route !== '';

export function Relay({ live, answer }: PageProps) {
  const { answer: report, fault } = useAnswer<RelayReport>('../relay', live.at);
  const [order, setOrder] = useState<Order>();
  const [test, setTest] = useState<RelayTry>();
  const mayAct = answer.scope === 'operate';
  const path = (route: string, what: string) => `../relay/routes/${encodeURIComponent(route)}/${what}`;
  const tryIt = (route: string) => setOrder({
    title: `Try ${route}`,
    text: <p>Sends a signed test to its backend. No message is sent, and none is stored.</p>,
    button: 'Send',
    act: async () => setTest(await call<RelayTry>('POST', path(route, 'try'))),
  });
  const resume = (route: string) => setOrder({
    title: `Resume ${route}`,
    text: <p>Its backend answered 410. {answer.instance} sends again; other instances keep their pause.</p>,
    button: 'Resume',
    act: () => call('POST', path(route, 'resume')),
  });
  const skip = (channel: string, head: number) => setOrder({
    title: 'Give up messages',
    text: <p>What {channel} waits for up to this offset is never sent. Its answers end as failed.</p>,
    fields: <label class="field">Up to offset<input name="to" type="number" min={1} required defaultValue={String(head)} /></label>,
    typed: channel,
    button: 'Give up',
    act: (form) => call('POST', '../relay/skip', { channel, to: Number(form.get('to')) }),
  });
  return (
    <>
      <div class="title"><h1>Relay</h1></div>
      <Fault text={report === undefined ? fault : undefined} />
      {report !== undefined && (
        <>
          <Card title="Routes" wide aside={report.complete ? 'waiting and dead of all instances' : 'more channels wait than were counted'}>
            <Table
              label="routes" rows={report.routes} id={(one) => one.route} empty="No route is configured: see docs/relay.md."
              columns={[
                { title: 'Route', cell: (one) => <code>{one.route}</code> },
                { title: 'State', cell: (one) => { const [sign, word] = routeState(one, answer.now); return <State of={sign}>{word}</State>; } },
                { title: 'Waiting', isNumber: true, cell: (one) => whole(one.waiting) },
                { title: 'Oldest', isNumber: true, cell: (one) => (one.oldest_ms === null ? '–' : <span title={clock(one.oldest_ms)}>{lasting(answer.now - one.oldest_ms)}</span>) },
                { title: 'Attempts', isNumber: true, cell: (one) => whole(one.attempts) },
                { title: 'In flight', isNumber: true, cell: (one) => `${whole(one.in_flight)} of ${whole(one.concurrency)}` },
                { title: 'Requests here', cell: (one) => <span class="wrap">{outcomes(one.requests)}</span> },
                { title: 'Dead', isNumber: true, cell: (one) => whole(one.dead) },
                { title: 'Action', cell: (one) => (!mayAct ? '–' : (
                  <span class="row-buttons">
                    <button type="button" onClick={() => tryIt(one.route)}>Try…</button>
                    {one.paused && <button type="button" onClick={() => resume(one.route)}>Resume…</button>}
                  </span>
                )) },
              ]}
            />
            {test !== undefined && <p class="prose" role="status"><b>{test.route}</b> {tried(test)} <bdi>{test.body}</bdi></p>}
          </Card>
          {report.routes.length + report.unrouted > 0 && (
            <>
              <Card title="Stuck channels" wide aside={report.unrouted > 0 ? `${whole(report.unrouted)} without a route` : undefined}>
                <Table
                  label="stuck channels" rows={report.stuck} id={(one) => one.channel} empty="No channel waits after an attempt."
                  columns={[
                    { title: 'Channel', cell: (one) => <span class="wrap"><code>{one.channel}</code></span> },
                    { title: 'Sent up to', isNumber: true, cell: (one) => whole(one.cursor) },
                    { title: 'Newest', isNumber: true, cell: (one) => whole(one.head) },
                    { title: 'Attempts', isNumber: true, cell: (one) => whole(one.attempts) },
                    { title: 'Oldest', isNumber: true, cell: (one) => (one.oldest_ms === null ? '–' : lasting(answer.now - one.oldest_ms)) },
                    { title: 'Action', cell: (one) => (mayAct ? <button type="button" onClick={() => skip(one.channel, one.head)}>Give up…</button> : '–') },
                  ]}
                />
              </Card>
              <DeadLetters live={live} answer={answer} />
            </>
          )}
        </>
      )}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </>
  );
}

function DeadLetters({ live, answer }: Pick<PageProps, 'live' | 'answer'>) {
  const { answer: page, fault } = useAnswer<{ dead: DeadLetter[]; next: number | null }>('../relay/dead', live.at);
  const [order, setOrder] = useState<Order>();
  const [result, setResult] = useState<RelayReplay>();
  const replay = ({ route, channel, offset, through }: DeadLetter) => setOrder({
    title: `Replay to ${route}`,
    text: <p>Sends {through > offset ? `the messages ${offset}–${through}` : `message ${offset}`} of <bdi>{channel}</bdi> to the backend again, with the same id. No answer begins, and it stays listed.</p>,
    button: 'Replay',
    act: async () => setResult(await call<RelayReplay>('POST', `../relay/routes/${encodeURIComponent(route)}/replay`, { channel, from: offset, to: through })),
  });
  return (
    <Card title="Dead letters" wide aside={(page?.next ?? null) === null ? undefined : 'the first 100'}>
      <Fault text={page === undefined ? fault : undefined} />
      <Table
        label="dead letters" rows={page?.dead ?? []} id={(one) => one.number} empty="None."
        columns={[
          { title: 'Route', cell: (one) => <code>{one.route}</code> },
          { title: 'Channel', cell: (one) => <span class="wrap"><code>{one.channel}</code></span> },
          { title: 'Offset', isNumber: true, cell: (one) => (one.through > one.offset ? `${one.offset}–${one.through}` : one.offset) },
          { title: 'Cause', cell: (one) => `${one.cause.replace('_', ' ')}${one.status === null ? '' : ` (${one.status})`}` },
          { title: 'When', cell: (one) => <Ago ms={one.time_ms} now={answer.now} /> },
          { title: 'Action', cell: (one) => (answer.scope === 'operate' && isReplayable(one) ? <button type="button" onClick={() => replay(one)}>Replay…</button> : '–') },
        ]}
      />
      {result !== undefined && <p class="prose" role="status"><b>{result.route}</b> <bdi>{replayed(result)}</bdi></p>}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </Card>
  );
}
