import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { lasting, short, whole } from '../format.ts';
import { Card, Confirm, Figure, type Order } from '../parts.tsx';
import { Plot } from '../plot.tsx';
import type { Drain } from '../types.ts';
import type { PageProps } from './overview.tsx';

const PHASES = ['accepting', 'moving', 'closing'] as const;

/** The beginning and end of each phase, in ms since the drain began. */
export function phases({ plan }: Drain): Record<(typeof PHASES)[number], [number, number]> {
  const moving = plan.accept_ms + plan.spread_ms;
  return { accepting: [0, plan.accept_ms], moving: [plan.accept_ms, Math.max(moving, plan.close_ms)], closing: [Math.max(moving, plan.close_ms), plan.exit_ms] };
}

export function DrainPage({ live, answer }: PageProps) {
  const { drain, instance } = answer;
  const [order, setOrder] = useState<Order>();
  const begin = () => setOrder({
    title: `Drain ${instance}`,
    text: <p>Its {whole(drain.connections)} connections move to other instances, then the process exits, within {lasting(drain.plan.exit_ms)}. A drain cannot be cancelled.{answer.cluster.totals.instances <= 1 && <b> No other instance is known: clients wait until it is started again.</b>}</p>,
    typed: instance,
    button: `Drain ${instance}`,
    act: () => call('POST', '../drain'),
  });
  const isDraining = drain.since !== undefined;
  return (
    <>
      <div class="title"><h1>Drain</h1></div>
      {isDraining ? <Progress drain={drain} live={live} answer={answer} /> : (
        <Card title={`${instance} serves`} wide aside={`${whole(drain.connections)} connections`}>
          <p class="prose">A drain asks clients to move, at times spread over {lasting(drain.plan.spread_ms)}, closes what is left after {lasting(drain.plan.close_ms)}, and exits after {lasting(drain.plan.exit_ms)} at the latest; earlier if all have left.</p>
          <p class="buttons">{answer.scope === 'operate' ? <button type="button" class="danger" onClick={begin}>Drain {instance}…</button> : <span class="quiet">This session may only read.</span>}</p>
        </Card>
      )}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </>
  );
}

function Progress({ drain, live, answer }: { drain: Drain } & Pick<PageProps, 'live' | 'answer'>) {
  const elapsed = drain.elapsed_ms ?? 0;
  const all = drain.connections + drain.moved + drain.stragglers;
  const since = drain.since ?? 0;
  const first = Math.max(0, live.points.times.findIndex((time) => time >= since - 5_000));
  const times = live.points.times.slice(first);
  const bounds = phases(drain);
  const planned = (time: number) => {
    const [from, until] = bounds.moving;
    return all * (1 - Math.max(0, Math.min(1, (time - since - from) / Math.max(1, until - from))));
  };
  return (
    <>
      <Card title={`${answer.instance} drains`} wide aside={`${short(elapsed / 1_000)} s of at most ${lasting(drain.plan.exit_ms)}; by ${drain.cause}`}>
        <ol class="phases">
          {PHASES.map((phase) => {
            const [from, until] = bounds[phase];
            const share = Math.max(0, Math.min(1, (elapsed - from) / Math.max(1, until - from)));
            return <li key={phase} aria-current={drain.phase === phase ? 'step' : undefined}><span class="fill" style={{ width: `${share * 100}%` }} /><span class="name">{phase}</span></li>;
          })}
        </ol>
      </Card>
      <div class="figures">
        <Figure label="Still here" value={whole(drain.connections)} />
        <Figure label="Moved" value={whole(drain.moved)} about={`${all === 0 ? 100 : Math.floor((drain.moved / all) * 100)} % of ${whole(all)}`} />
        <Figure label="Closed" value={whole(drain.stragglers)} about="did not move in time" />
        <Figure label="Unfinished" value={whole(drain.unfinished.appends + drain.unfinished.closes)} about="publishes and closes" />
      </div>
      <Plot title="Connections" unit="this instance, with the plan" times={times} format={short} from={since - 5_000} until={Math.max(answer.now, since + drain.plan.exit_ms)}
        lines={[{ label: 'connections', values: (live.points.values['connections'] ?? []).slice(first) }, { label: 'plan', values: times.map(planned), tone: 'plan' }]} />
    </>
  );
}
