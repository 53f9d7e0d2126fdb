import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { clock, lasting, micros } from '../format.ts';
import { Ago, Card, Confirm, Fault, State, Table, useAnswer, type Order } from '../parts.tsx';
import { link } from '../route.ts';
import type { Dependency, Outage } from '../types.ts';
import type { PageProps } from './overview.tsx';

const DAY_MS = 86_400_000;

export function Dependencies({ live, answer, options }: PageProps) {
  const checks = Object.entries(answer.health.checks).map(([name, [check]]) => ({ name, ...check }));
  const name = options.get('name') ?? checks.find((check) => check.state === 'down')?.name ?? checks.find((check) => check.name !== 'gateway')?.name ?? 'gateway';
  const { answer: one, fault } = useAnswer<Dependency>(`../health/dependencies/${encodeURIComponent(name)}`, live.at);
  return (
    <>
      <div class="title"><h1>Dependencies</h1></div>
      <div class="sides">
        <Card title="What the gateway needs">
          <ul class="list">
            {checks.map((check) => (
              <li key={check.name}>
                <a href={link('dependencies', { name: check.name })} aria-current={check.name === name ? 'true' : undefined}>
                  <span><State of={check.state}><b>{check.name}</b></State><small>{check.kind}, {check.criticality}{check.state === 'ok' ? '' : `, ${check.state}`}</small></span>
                  <span class="quiet">{micros(check.latency_us?.p50)}</span>
                </a>
              </li>
            ))}
          </ul>
        </Card>
        <div>
          <Fault text={one === undefined ? fault : undefined} />
          {one !== undefined && <OneDependency one={one} mayAct={answer.scope === 'operate'} instance={answer.instance} />}
        </div>
      </div>
    </>
  );
}

function OneDependency({ one, mayAct, instance }: { one: Dependency; mayAct: boolean; instance: string }) {
  const isDown = one.state === 'down';
  return (
    <Card title={one.name} aside={<><State of={one.state} /> for {lasting(one.now - one.since)}</>}>
      {isDown && (
        <div class="cause">
          <p><b>{one.output}</b></p>
          {one.look_at !== undefined && <p>{one.look_at}</p>}
          <p class="quiet">Clients quote the reference <a href={link('lookup', { kind: 'reference', name: one.reference })}>{one.reference}</a>.{one.lost.length > 0 && ` Lost: ${one.lost.join(', ')}.`}</p>
        </div>
      )}
      {one.warning !== undefined && <p class="prose"><State of="warning">{one.warning}</State></p>}
      <dl class="facts">
        <dt>Address</dt><dd><code>{one.address === '' ? 'this process' : one.address}</code></dd>
        <dt>Kind</dt><dd>{one.kind}, {one.criticality}</dd>
        <dt>Latency</dt><dd>p50 {micros(one.latency_us?.p50)}, p99 {micros(one.latency_us?.p99)}</dd>
        {Object.keys(one.breakers).length > 0 && <><dt>Breakers</dt><dd class="states">{Object.entries(one.breakers).map(([use, position]) => <State key={use} of={position}>{use} {position.replace('_', ' ')}</State>)}</dd></>}
        {one.forced !== undefined && <><dt>Held</dt><dd>{one.forced.to === 'open' ? 'out of service' : 'in service'} by an operator, {lasting(one.forced.for_ms)} left</dd></>}
        {one.last_success !== undefined && <><dt>Last success</dt><dd><Ago ms={one.last_success} now={one.now} /></dd></>}
      </dl>
      <h3>Last {one.probes.length} probes</h3>
      <Probes one={one} />
      <h3>Last 24 h</h3>
      <Timeline one={one} />
      <h3>Past outages</h3>
      <PastOutages one={one} />
      {mayAct && <Actions one={one} instance={instance} />}
    </Card>
  );
}

function Probes({ one }: { one: Dependency }) {
  if (one.probes.length === 0) return <p class="empty">No probe has ended yet.</p>;
  const top = Math.max(...one.probes.map((probe) => probe.latency_us), 1);
  const failed = one.probes.filter((probe) => !probe.ok).length;
  const label = `${one.probes.length} probes, ${failed} failed, the slowest took ${micros(top)}`;
  return (
    <div class="probes" role="img" aria-label={label}>
      {[...one.probes].reverse().map((probe) => (
        <span key={probe.time} class={probe.ok ? 'good' : 'bad'} title={`${clock(probe.time)}: ${probe.ok ? micros(probe.latency_us) : probe.output}`} style={{ height: `${Math.max(12, (probe.latency_us / top) * 100)}%` }} />
      ))}
    </div>
  );
}

/** The parts of the last day in which it was down, as shares of the day. */
export function downtime(outages: Outage[], running: number | undefined, now: number): { left: number; width: number }[] {
  const all = outages.map(({ since, lasted_ms }) => [since, since + lasted_ms] as const);
  if (running !== undefined) all.push([running, now]);
  return all.filter(([, until]) => until > now - DAY_MS).map(([since, until]) => {
    const left = Math.max(0, 1 - (now - since) / DAY_MS);
    return { left, width: Math.max(0.003, (until - Math.max(since, now - DAY_MS)) / DAY_MS) };
  });
}

function Timeline({ one }: { one: Dependency }) {
  const parts = downtime(one.outages, one.state === 'down' ? one.since : undefined, one.now);
  return (
    <div class="timeline" role="img" aria-label={parts.length === 0 ? 'no outage in the last 24 h' : `${parts.length} outages in the last 24 h`}>
      {parts.map((part) => <span key={part.left} style={{ left: `${part.left * 100}%`, width: `${part.width * 100}%` }} />)}
    </div>
  );
}

function PastOutages({ one }: { one: Dependency }) {
  return (
    <Table
      label="past outages" rows={one.outages} id={(outage) => outage.reference} empty="None since this gateway started."
      columns={[
        { title: 'Began', cell: (outage) => <Ago ms={outage.since} now={one.now} /> },
        { title: 'Lasted', isNumber: true, cell: (outage) => lasting(outage.lasted_ms) },
        { title: 'Cause', cell: (outage) => <span class="wrap">{outage.output}</span> },
        { title: 'Reference', cell: (outage) => <a href={link('lookup', { kind: 'reference', name: outage.reference })}>{outage.reference}</a> },
      ]}
    />
  );
}

function Actions({ one, instance }: { one: Dependency; instance: string }) {
  const [order, setOrder] = useState<Order>();
  const [said, setSaid] = useState('');
  const path = `../health/dependencies/${encodeURIComponent(one.name)}`;
  const probe = () => call('POST', `${path}/probe`).then(() => setSaid('Probe requested.'), (error: Error) => setSaid(error.message));
  const hold = (to: 'open' | 'closed') => setOrder({
    title: to === 'open' ? `Take ${one.name} out of service` : `Keep ${one.name} in service`,
    text: to === 'open'
      ? <p>{instance} treats {one.name} as down, whatever its probes say: calls fail at once, and if it is critical, new clients are turned away.</p>
      : <p>{instance} treats {one.name} as available, whatever its probes say. If it really is down, clients meet the failure themselves.</p>,
    fields: <label class="field">For how many minutes (1 to 1440)<input name="minutes" type="number" min={1} max={1440} required defaultValue="10" /></label>,
    button: 'Hold',
    act: (form) => call('POST', `${path}/force`, { to, minutes: Number(form.get('minutes')) }),
  });
  const release = () => setOrder({ title: `Release ${one.name}`, text: <p>Probes and calls decide again.</p>, button: 'Release', act: () => call('DELETE', `${path}/force`) });
  return (
    <div class="buttons">
      <button type="button" onClick={() => void probe()}>Probe now</button>
      {one.name !== 'gateway' && one.forced === undefined && <><button type="button" class="danger" onClick={() => hold('open')}>Hold out of service…</button><button type="button" class="danger" onClick={() => hold('closed')}>Hold in service…</button></>}
      {one.forced !== undefined && <button type="button" onClick={release}>Release…</button>}
      <span class="quiet" role="status">{said}</span>
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </div>
  );
}
