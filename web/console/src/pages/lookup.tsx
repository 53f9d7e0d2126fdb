import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { clock, lasting } from '../format.ts';
import { Ago, Card, Confirm, Fault, State, Table, useAnswer, type Order } from '../parts.tsx';
import { link } from '../route.ts';
import type { PageProps } from './overview.tsx';

const KINDS = { user: 'User', connection: 'Connection', channel: 'Channel', reference: 'Reference' } as const;
type Kind = keyof typeof KINDS;

interface Session { connection: string; user: string; client: string; address: string; opened_unix_ms: number; state: string; ended_unix_ms?: number; code?: number; reason?: string; reference?: string }
interface Sessions { instance: string; sessions: Session[] }

/** The kind of name that a text probably is: 16 hexadecimal digits are a connection, 6 letters or digits a reference. */
export const guess = (text: string): Kind => (/^[0-9a-f]{16}$/.test(text) ? 'connection' : /^[0-9a-z]{6}$/.test(text) && /\d/.test(text) ? 'reference' : 'user');

export function LookUp({ live, answer, options }: PageProps) {
  const name = options.get('name') ?? '';
  const wanted = options.get('kind') ?? '';
  const kind: Kind = Object.hasOwn(KINDS, wanted) ? (wanted as Kind) : 'user';
  const [isChosen, setIsChosen] = useState(false);
  const submit = (event: SubmitEvent & { currentTarget: HTMLFormElement }) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = String(form.get('name')).trim();
    location.hash = link('lookup', { kind: isChosen ? String(form.get('kind')) : guess(text), name: text });
  };
  return (
    <>
      <div class="title"><h1>Look up</h1></div>
      <form class="card search" onSubmit={submit}>
        <label>Kind<select name="kind" value={kind} onChange={() => setIsChosen(true)}>{Object.entries(KINDS).map(([value, text]) => <option key={value} value={value}>{text}</option>)}</select></label>
        <label class="grow">Name, id or reference<input name="name" key={name} defaultValue={name} required maxLength={128} autoComplete="off" spellcheck={false} /></label>
        <button type="submit" class="strong">Look up</button>
      </form>
      {name !== '' && kind === 'user' && <User name={name} live={live} mayAct={answer.scope === 'operate'} now={answer.now} />}
      {name !== '' && kind === 'connection' && <Found path={`../lookup/connection/${encodeURIComponent(name)}`} beat={0}>{(found: Sessions) => <SessionCard found={found} now={answer.now} />}</Found>}
      {name !== '' && kind === 'channel' && <Found path={`../channels/${encodeURIComponent(name)}/presence`} beat={0}>{(found: Roster) => <RosterCard found={found} channel={name} />}</Found>}
      {name !== '' && kind === 'reference' && <Found path={`../lookup/reference/${encodeURIComponent(name)}`} beat={0}>{(found: FoundOutage) => <OutageCard found={found} />}</Found>}
      {name === '' && <p class="empty">A user, a connection, a channel or the reference that a client quotes. Message content is never shown.</p>}
    </>
  );
}

function Found<T>({ path, beat, children }: { path: string; beat: number; children: (found: T) => ComponentChildren }) {
  const { answer, fault } = useAnswer<T>(path, beat);
  if (answer !== undefined) return <>{children(answer)}</>;
  return fault === undefined ? <p class="empty">Looking…</p> : <Fault text={fault} />;
}

function SessionCard({ found, now }: { found: Sessions; now: number }) {
  return (
    <Card title="Sessions" wide aside={`at ${found.instance}: open, and the last that ended`}>
      <Table
        label="sessions" rows={found.sessions} id={(one) => one.connection} empty={`No session at ${found.instance}, open or among the last that ended.`}
        columns={[
          { title: 'Connection', cell: (one) => <a href={link('lookup', { kind: 'connection', name: one.connection })}><code>{one.connection}</code></a> },
          { title: 'User', cell: (one) => <a href={link('lookup', { kind: 'user', name: one.user })}><bdi>{one.user}</bdi></a> },
          { title: 'State', cell: (one) => <State of={one.state === 'open' ? 'ok' : 'none'}>{one.state}</State> },
          { title: 'Client', cell: (one) => (one.client === '' ? '–' : <span class="wrap">{one.client}</span>) },
          { title: 'Address', cell: (one) => one.address },
          { title: 'Opened', cell: (one) => <Ago ms={one.opened_unix_ms} now={now} /> },
          { title: 'Ended', cell: (one) => (one.ended_unix_ms === undefined ? '–' : <Ago ms={one.ended_unix_ms} now={now} />) },
          { title: 'Why', cell: (one) => (one.code === undefined ? '–' : `${one.code} ${one.reason}`) },
        ]}
      />
    </Card>
  );
}

interface UserAnswer { blocked?: boolean; connections?: unknown[]; complete?: boolean }

function User({ name, live, mayAct, now }: { name: string; live: { at: number }; mayAct: boolean; now: number }) {
  const [order, setOrder] = useState<Order>();
  const path = encodeURIComponent(name);
  const { answer: everywhere } = useAnswer<UserAnswer>(`../users/${path}`, live.at);
  const disconnect = () => setOrder({
    title: `Disconnect ${name}`,
    text: <p>Ends all sessions of this user on all instances. Clients may connect again at once; to keep a user out, block the user.</p>,
    button: 'Disconnect',
    act: () => call('POST', `../users/${path}/disconnect`, {}),
  });
  return (
    <>
      <Found path={`../lookup/user/${path}`} beat={live.at}>{(found: Sessions) => <SessionCard found={found} now={now} />}</Found>
      {everywhere !== undefined && (
        <p class="prose quiet">On all instances: {everywhere.connections?.length ?? 0} connections{everywhere.blocked ? '; the user is blocked' : ''}.</p>
      )}
      {mayAct && <p class="buttons"><button type="button" class="danger" onClick={disconnect}>Disconnect…</button></p>}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </>
  );
}

interface Roster { id?: unknown; presence?: { members?: { user: string; connections?: number }[]; total?: number }; members?: { user: string }[] }

function RosterCard({ found, channel }: { found: Roster; channel: string }) {
  const members = found.presence?.members ?? found.members ?? [];
  return (
    <Card title={channel} wide aside="users present; never messages">
      <Table label="users present" rows={members} id={(one) => one.user} empty="No user is present in this channel." columns={[{ title: 'User', cell: (one) => <a href={link('lookup', { kind: 'user', name: one.user })}><bdi>{one.user}</bdi></a> }]} />
    </Card>
  );
}

interface FoundOutage { dependency: string; reference: string; since: number; lasted_ms: number; over: boolean; output: string; look_at: string }

function OutageCard({ found }: { found: FoundOutage }) {
  return (
    <Card title={`Outage ${found.reference}`} wide aside={<State of={found.over ? 'ok' : 'down'}>{found.over ? 'over' : 'lasts'}</State>}>
      <div class="cause"><p><b>{found.output}</b></p><p>{found.look_at}</p></div>
      <dl class="facts">
        <dt>Dependency</dt><dd><a href={link('dependencies', { name: found.dependency })}>{found.dependency}</a></dd>
        <dt>Began</dt><dd>{clock(found.since)}</dd>
        <dt>{found.over ? 'Lasted' : 'Lasts for'}</dt><dd>{lasting(found.lasted_ms)}</dd>
      </dl>
    </Card>
  );
}
