import { useEffect, useState } from 'preact/hooks';
import { call } from '../api.ts';
import { budget, bytes, lasting, micros, pair, short, whole } from '../format.ts';
import type { Live, Points } from '../live.ts';
import { Ago, Bar, Card, Figure, State, Table } from '../parts.tsx';
import { Plot, Spark, type Mark } from '../plot.tsx';
import { link, SPANS, spanOf, type Span } from '../route.ts';
import type { Change, Instance, LiveAnswer, Series, SloShort } from '../types.ts';

const HALF = ['connections', 'connects', 'closes', 'published', 'delivered', 'publish_p50_us', 'publish_p99_us'];
const ANSWER_POINTS_MAX = 8;

export interface PageProps { live: Live; answer: LiveAnswer; options: URLSearchParams }

/** The points of a span: ten minutes are those of the live answers, longer ones are asked for and renewed with each new row. */
export function useSpan(live: Live, answer: LiveAnswer, span: Span, names: string[]): Points {
  const [step, points] = SPANS[span];
  const [held, setHeld] = useState<{ span: Span; points: Points }>();
  const row = Math.floor(answer.tick / step);
  useEffect(() => {
    if (span === '10m') return;
    let isHere = true;
    const query = `series?names=${names.slice(0, ANSWER_POINTS_MAX).join(',')}&step=${step}&points=${points}`;
    call<{ series: Series; now: number; tick: number }>('GET', query)
      .then(({ series, now, tick }) => {
        const times = series.rows.map((_, at) => now - (tick - series.from) * 1_000 + (at + 1) * series.step_ms);
        const values = Object.fromEntries(series.names.map((name, column) => [name, series.rows.map((values) => values[column] ?? null)]));
        if (isHere) setHeld({ span, points: { times, values } });
      })
      .catch(() => {});
    return () => { isHere = false; };
  }, [span, row, names.join()]);
  if (span !== '10m') return held?.span === span ? held.points : { times: [], values: {} };
  const first = live.points.times.findIndex((time) => time >= answer.now - 600_000);
  if (first < 0) return { times: [], values: {} };
  const values = Object.fromEntries(names.map((name) => [name, (live.points.values[name] ?? []).slice(first)]));
  return { times: live.points.times.slice(first), values };
}

export const marksOf = (changes: Change[]): Mark[] => changes.filter(({ kind }) => kind !== 'action').map(({ time, text }) => ({ time, text }));

export function SpanChoice({ page, options }: { page: string; options: URLSearchParams }) {
  const span = spanOf(options);
  return (
    <nav class="choice" aria-label="span">
      {(Object.keys(SPANS) as Span[]).map((one) => (
        <a key={one} href={link(page, { ...Object.fromEntries(options), span: one })} aria-current={one === span ? 'true' : undefined}>{SPANS[one][2]}</a>
      ))}
    </nav>
  );
}

export function Overview({ live, answer, options }: PageProps) {
  const span = spanOf(options);
  const points = useSpan(live, answer, span, HALF);
  const values = (name: string) => points.values[name] ?? [];
  const newest = (name: string) => live.points.values[name]?.findLast((value) => value !== null);
  const spark = (name: string) => <Spark times={live.points.times} values={live.points.values[name] ?? []} />;
  const marks = marksOf(live.changes);
  const { totals, instances } = answer.cluster;
  const isAlone = instances.length <= 1;
  const from = answer.now - SPANS[span][0] * SPANS[span][1] * 1_000;
  const common = { times: points.times, marks, from, until: answer.now };
  const worst = answer.slos.filter((slo) => slo.left_ppm !== null).sort((a, b) => (a.left_ppm ?? 0) - (b.left_ppm ?? 0))[0];
  return (
    <>
      <div class="title"><h1>Overview</h1><SpanChoice page="overview" options={options} /></div>
      <div class="figures">
        <Figure label="Connections" value={short(newest('connections'))} about={isAlone ? `of ${short(answer.connections_max)}` : `here; ${short(totals.connections)} on ${totals.instances} instances`}>{spark('connections')}</Figure>
        <Figure label="Published / s" value={short(newest('published'))} about="stored and acknowledged">{spark('published')}</Figure>
        <Figure label="Delivered / s" value={short(newest('delivered'))} about="to subscribers">{spark('delivered')}</Figure>
        <Figure label="Publish p50 / p99" value={pair(newest('publish_p50_us'), newest('publish_p99_us'))} about="until acknowledged">{spark('publish_p99_us')}</Figure>
        <Figure label="Least error budget" value={budget(worst?.left_ppm)} about={worst?.name ?? 'no events yet'}>
          {worst !== undefined && <Bar share={(worst.left_ppm ?? 0) / 1e6} tone={toneOf(worst)} />}
        </Figure>
      </div>
      <div class="grid2">
        <Plot title="Connections" unit="this instance" format={short} {...common} lines={[{ label: 'connections', values: values('connections') }]} />
        <Plot title="Connects and closes" unit="per second" format={short} {...common} lines={[{ label: 'connects', values: values('connects') }, { label: 'closes', values: values('closes'), tone: 'three' }]} />
        <Plot title="Publish latency" unit="until acknowledged" format={micros} {...common} lines={[{ label: 'p50', values: values('publish_p50_us') }, { label: 'p99', values: values('publish_p99_us'), tone: 'two' }]} />
        <Card title="Error budgets" aside={<a href={link('slos')}>all SLOs</a>}><Budgets slos={answer.slos} /></Card>
      </div>
      <Card title="Instances" wide aside={answer.cluster.complete ? 'all that share the store' : 'perhaps not all: a part cannot be read'}><Instances answer={answer} /></Card>
      <Changes changes={live.changes} now={answer.now} />
    </>
  );
}

const toneOf = (slo: SloShort) => (slo.state === 'kept' ? 'good' : slo.state === 'spent' || slo.state === 'burning' ? 'bad' : 'wait');

export function Budgets({ slos }: { slos: SloShort[] }) {
  if (slos.length === 0) return <p class="empty">Objectives are off: set slo.enabled.</p>;
  return (
    <ul class="budgets">
      {slos.map((slo) => (
        <li key={slo.name}>
          <a href={link('slos', { slo: slo.name })}>{slo.name}</a>
          {slo.left_ppm === null ? <span class="quiet">no events</span> : <Bar share={slo.left_ppm / 1e6} tone={toneOf(slo)} />}
          <b>{slo.left_ppm === null ? '' : budget(slo.left_ppm)}</b>
        </li>
      ))}
    </ul>
  );
}

/** Links come from other instances, so only pages are accepted. */
const isPage = (url: string | undefined): url is string => /^https?:\/\//.test(url ?? '');

function Instances({ answer }: { answer: LiveAnswer }) {
  const isSilent = (one: Instance) => one.state !== 'alive' && one.state !== 'draining';
  const state = (one: Instance) => (isSilent(one) ? `silent for ${lasting(one.age_ms)}` : one.level !== undefined && one.level !== 'ok' ? one.level : one.state === 'alive' ? 'ok' : one.state);
  return (
    <Table
      label="instances" rows={answer.cluster.instances} id={(one) => one.name} empty="No instance is known." dim={isSilent}
      columns={[
        { title: 'Name', cell: (one) => <><b>{isPage(one.url) && one.name !== answer.instance ? <a href={one.url} rel="noreferrer">{one.name}</a> : one.name}</b>{one.name === answer.instance && <small> this one</small>}</> },
        { title: 'State', cell: (one) => <State of={isSilent(one) ? 'unknown' : state(one)}>{state(one)}</State> },
        { title: 'Connections', isNumber: true, cell: (one) => whole(one.connections) },
        { title: 'Room used', cell: (one) => (one.connections_max ? <Bar share={(one.connections ?? 0) / one.connections_max} /> : '–') },
        { title: 'Connects / s', isNumber: true, cell: (one) => short(one.connects_per_s) },
        { title: 'Published / s', isNumber: true, cell: (one) => short(one.publishes_per_s) },
        { title: 'p99', isNumber: true, cell: (one) => micros(one.publish_p99_us) },
        { title: 'Memory', isNumber: true, cell: (one) => bytes(one.memory_bytes) },
        { title: 'Version', cell: (one) => one.version ?? '–' },
        { title: 'Up', isNumber: true, cell: (one) => (one.since ? lasting(answer.now - one.since) : '–') },
      ]}
    />
  );
}

export function Changes({ changes, now, title = 'Changes and actions' }: { changes: Change[]; now: number; title?: string }) {
  const newest = changes.slice(-12).reverse();
  return (
    <Card title={title} wide aside="the newest 12">
      {newest.length === 0 && <p class="empty">None since this page was opened.</p>}
      <ul class="changes">
        {newest.map((change) => (
          <li key={change.id}><Ago ms={change.time} now={now} /> <span class="tag">{change.kind}</span> <span class="text">{change.text}</span>
            {change.reference !== undefined && <a href={link('lookup', { kind: 'reference', name: change.reference })}>{change.reference}</a>}
          </li>
        ))}
      </ul>
    </Card>
  );
}
