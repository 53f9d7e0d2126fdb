import { readText } from '../api.ts';
import { short, whole } from '../format.ts';
import { buckets, samples, total, type Bucket } from '../metrics.ts';
import { Bar, Card, Fault, Figure, useAnswer } from '../parts.tsx';
import { Plot } from '../plot.tsx';
import { SPANS, spanOf } from '../route.ts';
import { Changes, marksOf, SpanChoice, useSpan, type PageProps } from './overview.tsx';

/** The time between two readings of /metrics. */
const RETURNS_MS = 10_000;
const CLOSES = ['closes_1006', 'closes_1011', 'closes_1012', 'closes_1013', 'closes_4408'];
const NAMES = ['connections', 'connects', ...CLOSES];
const WORDS: Record<string, string> = {
  closes_1006: '1006 lost', closes_1011: '1011 unavailable', closes_1012: '1012 restart', closes_1013: '1013 over capacity', closes_4408: '4408 silent',
};

export function Clients({ live, answer, options }: PageProps) {
  const span = spanOf(options);
  const points = useSpan(live, answer, span, NAMES);
  const newest = (name: string) => live.points.values[name]?.findLast((value) => value !== null);
  const values = (name: string) => points.values[name] ?? [];
  const lasted = (name: string) => (live.points.values[name] ?? []).reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  const from = answer.now - SPANS[span][0] * SPANS[span][1] * 1_000;
  const common = { times: points.times, marks: marksOf(live.changes), from, until: answer.now, format: short };
  const storms = live.changes.filter(({ kind }) => kind === 'storm');
  const lines = (names: string[]) => names.map((name) => ({ label: WORDS[name] ?? name, values: values(name) }));
  return (
    <>
      <div class="title"><h1>Clients</h1><SpanChoice page="clients" options={options} /></div>
      <div class="figures">
        <Figure label="Connections" value={short(newest('connections'))} about={`of ${whole(answer.connections_max)} here`} />
        <Figure label="Connects / s" value={short(newest('connects'))} about={`most in 30 min: ${short(lasted('connects'))}`} />
        <Figure label="Lost / s" value={short(newest('closes_1006'))} about="without a close frame (1006)" />
        <Figure label="Silent / s" value={short(newest('closes_4408'))} about="closed by the gateway (4408)" />
        <Figure label="Turned away / s" value={short(newest('closes_1013'))} about="over capacity (1013)" />
      </div>
      <div class="grid2">
        <Plot title="Connections" unit="this instance" {...common} lines={[{ label: 'connections', values: values('connections') }]} />
        <Plot title="Connects" unit="per second" {...common} lines={[{ label: 'connects', values: values('connects') }]} />
        <Plot title="Ends that clients did not choose" unit="per second, by close code" {...common} lines={lines(['closes_1006', 'closes_4408'])} />
        <Plot title="Ends that the gateway ordered" unit="per second, by close code" {...common} lines={lines(['closes_1011', 'closes_1012', 'closes_1013'])} />
      </div>
      {storms.length > 0 && <Changes title="Storms of returns" changes={storms} now={answer.now} />}
      <Returns beat={Math.floor(live.at / RETURNS_MS)} />
    </>
  );
}

/** The share of all that a bucket up to this bound has. */
export function within(parts: Bucket[], bound: number): string {
  const all = total(parts);
  if (all === 0) return '–';
  const share = total(parts.filter(({ until }) => until <= bound)) / all;
  return `${Math.floor(share * 1_000) / 10} %`;
}

const range = (parts: Bucket[], at: number, unit: string) => {
  const [from, until] = [parts[at - 1]?.until ?? 0, parts[at]?.until ?? Infinity];
  return until === Infinity ? `over ${from}${unit}` : `up to ${until}${unit}`;
};

/** The returns of clients since this gateway started, as they reported them. */
function Returns({ beat }: { beat: number }) {
  const { answer: text, fault } = useAnswer<string>('../metrics', beat, readText);
  if (text === undefined) return <Fault text={fault} />;
  const [away, attempts] = [buckets(text, 'client_return_seconds'), buckets(text, 'client_return_attempts')];
  const shares = (name: string, label: string) => samples(text, name).map(({ labels, value }): [string, number] => [(labels[label] ?? '').replaceAll('_', ' '), value]);
  return (
    <>
      <h2>Returns since this gateway started</h2>
      <div class="figures">
        <Figure label="Returned" value={whole(total(samples(text, 'client_returns_total')))} about={`${whole(total(samples(text, 'client_returns_unproven_total')))} more named an end that is not known here`} />
        <Figure label="Within 30 s" value={within(away, 30)} about="of returned clients" />
        <Figure label="At the first attempt" value={within(attempts, 1)} about="of returned clients" />
        <Figure label="Not back" value={whole(total(samples(text, 'clients_not_returned_total')))} about="to this instance, within 5 min" />
      </div>
      <div class="grid2">
        <Shares title="Time to be back" aside="without idle time" parts={away.map(({ count }, at) => [range(away, at, ' s'), count])} />
        <Shares title="Attempts" aside="until connected" parts={attempts.map(({ count }, at) => [range(attempts, at, ''), count])} />
        <Shares title="Causes of the loss" aside="as clients saw it" parts={shares('client_returns_total', 'cause')} />
        <Shares title="Failed attempts" aside="how they ended" parts={shares('client_attempts_failed_total', 'how')} />
      </div>
      <Shares title="Versions" aside="connected clients" parts={shares('clients', 'version')} />
    </>
  );
}

/** Counts with bars. The rows keep their order, so that they can be compared over time. */
function Shares({ title, aside, parts }: { title: string; aside: string; parts: [string, number][] }) {
  const all = parts.reduce((sum, [, count]) => sum + count, 0);
  return (
    <Card title={title} aside={aside}>
      {all === 0 && <p class="empty">None yet.</p>}
      {all > 0 && <ul class="budgets">{parts.map(([name, count]) => <li key={name}><span class="wrap">{name}</span><Bar share={count / all} /><b>{short(count)}</b></li>)}</ul>}
    </Card>
  );
}
