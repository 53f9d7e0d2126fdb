import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { lasting } from '../format.ts';
import { Ago, Card, Confirm, Fault, State, Table, useAnswer, type Order } from '../parts.tsx';
import { link } from '../route.ts';
import type { AlertReport, Incident } from '../types.ts';
import type { PageProps } from './overview.tsx';

const LIMIT = 100;

export function Alerts({ live, answer }: PageProps) {
  const { answer: report, fault } = useAnswer<AlertReport>('../alerts', live.at);
  const [order, setOrder] = useState<Order>();
  const mayAct = answer.scope === 'operate';
  const acknowledge = (incident: Incident) => setOrder({
    title: `Acknowledge incident ${incident.number}`,
    text: <p>{incident.title}. No channel repeats it; it stays open until it is over.</p>,
    button: 'Acknowledge',
    act: () => call('POST', `../alerts/${incident.number}/ack`),
  });
  const silence = (prefix = '') => setOrder({
    title: 'Silence alerts',
    text: <p>Incidents whose name begins like this are not sent meanwhile. What still holds at the end is sent.</p>,
    fields: (
      <>
        <label class="field">Name begins with (empty: all)<input name="prefix" maxLength={200} defaultValue={prefix} autoComplete="off" spellcheck={false} /></label>
        <label class="field">For how many minutes (1 to 1440)<input name="minutes" type="number" min={1} max={1440} required defaultValue="60" /></label>
        <label class="field">Why, for other operators<input name="why" maxLength={200} required autoComplete="off" /></label>
      </>
    ),
    button: 'Silence',
    act: (form) => call('POST', '../alerts/silences', { prefix: form.get('prefix'), minutes: Number(form.get('minutes')), why: form.get('why') }),
  });
  const end = (number: number) => setOrder({ title: 'End the silence', text: <p>What it covers is sent again.</p>, button: 'End', act: () => call('DELETE', `../alerts/silences/${number}`) });
  const open = report?.incidents.filter((incident) => incident.end === undefined) ?? [];
  const over = report?.incidents.filter((incident) => incident.end !== undefined) ?? [];
  return (
    <>
      <div class="title"><h1>Alerts</h1>{mayAct && report !== undefined && <button type="button" onClick={() => silence()}>Silence…</button>}</div>
      <Fault text={report === undefined ? fault : undefined} />
      {report !== undefined && (
        <>
          <Card title="Open" wide aside={report.mode === 'observe' ? 'observed only: nothing is sent' : report.sends ? 'sent by this instance' : 'another instance sends'}>
            <Table
              label="open incidents" rows={open} id={(one) => one.number} empty="Nothing is wrong."
              columns={[
                { title: 'Severity', cell: (one) => <State of={one.severity} /> },
                { title: 'Incident', cell: (one) => <span class="wrap"><b>{one.title}</b><br /><small>{one.text}</small></span> },
                { title: 'Since', cell: (one) => <Ago ms={one.since} now={answer.now} /> },
                { title: 'Notified', cell: (one) => notified(one) },
                { title: 'Reference', cell: (one) => (one.reference === undefined ? '–' : <a href={link('lookup', { kind: 'reference', name: one.reference })}>{one.reference}</a>) },
                { title: 'Action', cell: (one) => (!mayAct ? '–' : (
                  <span class="row-buttons">
                    {one.acknowledged === undefined ? <button type="button" onClick={() => acknowledge(one)}>Acknowledge…</button> : 'acknowledged'}
                    <button type="button" onClick={() => silence(one.alert)}>Silence…</button>
                  </span>
                )) },
              ]}
            />
          </Card>
          {report.silences.length > 0 && (
            <Card title="Silences" wide>
              <Table
                label="silences" rows={report.silences} id={(one) => one.number} empty=""
                columns={[
                  { title: 'Begins with', cell: (one) => <code>{one.prefix === '' ? 'all' : one.prefix}</code> },
                  { title: 'Why', cell: (one) => <span class="wrap">{one.why}</span> },
                  { title: 'Left', isNumber: true, cell: (one) => lasting(one.until_ms - answer.now) },
                  { title: 'Action', cell: (one) => (mayAct ? <button type="button" onClick={() => end(one.number)}>End…</button> : '–') },
                ]}
              />
            </Card>
          )}
          <Card title="Over" wide aside={`the last ${LIMIT}`}>
            <Table
              label="incidents that are over" rows={over} id={(one) => one.number} empty="None yet."
              columns={[
                { title: 'Severity', cell: (one) => one.severity },
                { title: 'Incident', cell: (one) => <span class="wrap">{one.title}</span> },
                { title: 'Began', cell: (one) => <Ago ms={one.since} now={answer.now} /> },
                { title: 'Lasted', isNumber: true, cell: (one) => lasting((one.end?.at_ms ?? one.since) - one.since) },
                { title: 'Notified', cell: (one) => notified(one) },
              ]}
            />
          </Card>
          <Card title="Channels" wide>
            <Table
              label="channels" rows={report.channels} id={(one) => one.channel} empty="No channel is configured, so nothing is sent: see docs/alerts.md."
              columns={[
                { title: 'Channel', cell: (one) => one.channel },
                { title: 'Waiting', isNumber: true, cell: (one) => one.waiting },
                { title: 'Last sent', cell: (one) => (one.sent === null ? 'never' : <Ago ms={one.sent} now={answer.now} />) },
                { title: 'Fault', cell: (one) => <span class="wrap">{one.fault ?? '–'}</span> },
                { title: 'Given up', isNumber: true, cell: (one) => one.dead },
              ]}
            />
          </Card>
        </>
      )}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </>
  );
}

const notified = (incident: Incident) => (incident.notified.length === 0 ? (incident.held === undefined ? 'no' : `held: ${incident.held.replace('_', ' ')}`) : [...new Set(incident.notified.map(({ channel }) => channel))].join(', '));
