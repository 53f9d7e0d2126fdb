import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { clock, short, whole } from '../format.ts';
import { Ago, Card, Confirm, Fault, State, Table, useAnswer, type Order } from '../parts.tsx';
import { link } from '../route.ts';
import type { ErrorGroup, ErrorReport, ErrorSample, WholeErrorGroup } from '../types.ts';
import type { PageProps } from './overview.tsx';

const MUTE_HOURS = 24;
/** From the most that an error can take. */
const LEVELS = ['app', 'chat', 'thread', 'message', 'other'];

/** The most that the errors of a group took. */
export const worst = (levels: string[]): string => LEVELS.find((level) => levels.includes(level)) ?? 'other';

export const users = (group: Pick<ErrorGroup, 'users' | 'users_more'>): string => `${group.users}${group.users_more ? '+' : ''}`;

export function Errors({ live, answer, options }: PageProps) {
  const name = options.get('name') ?? '';
  return name === '' ? <Groups live={live} answer={answer} /> : <Group key={name} name={name} live={live} answer={answer} />;
}

function Groups({ live, answer }: Pick<PageProps, 'live' | 'answer'>) {
  const { answer: report, fault } = useAnswer<ErrorReport>('../client-errors', live.at);
  const lost = report === undefined ? 0 : report.dropped.client + report.dropped.new_groups;
  return (
    <>
      <div class="title"><h1>Client errors</h1></div>
      <Fault text={report === undefined ? fault : undefined} />
      {report !== undefined && (
        <Card title="Groups" wide aside={`reported to ${answer.instance} since it started${lost > 0 ? `; ${short(lost)} dropped by limits` : ''}`}>
          <Table
            label="groups of errors" rows={report.groups} id={(one) => one.fingerprint} empty="No client has reported an error."
            columns={[
              { title: 'Error', cell: (one) => <span class="wrap"><a href={link('errors', { name: one.fingerprint })}><b>{one.name || 'Error'}</b></a> <bdi>{one.message}</bdi></span> },
              { title: 'Took', cell: (one) => `${worst(one.levels)}${one.muted_until === null ? '' : ', muted'}` },
              { title: 'Times', isNumber: true, cell: (one) => whole(one.count) },
              { title: 'Users', isNumber: true, cell: users },
              { title: 'Release', cell: (one) => <span class="wrap">{one.releases.at(-1) ?? '–'}</span> },
              { title: 'First', cell: (one) => <Ago ms={one.since} now={answer.now} /> },
              { title: 'Last', cell: (one) => <Ago ms={one.seen} now={answer.now} /> },
            ]}
          />
        </Card>
      )}
      <p class="prose quiet">Kept in memory: a restart forgets them, and the log has a line for each new group.</p>
    </>
  );
}

function Group({ name, live, answer }: { name: string } & Pick<PageProps, 'live' | 'answer'>) {
  const path = `../client-errors/${encodeURIComponent(name)}`;
  const { answer: group, fault } = useAnswer<WholeErrorGroup>(path, live.at);
  const [order, setOrder] = useState<Order>();
  const isMuted = group !== undefined && group.muted_until !== null;
  const mute = () => setOrder({
    title: isMuted ? 'Log it again' : `Mute for ${MUTE_HOURS} h`,
    text: <p>{isMuted ? 'The log has a line again when the group reaches the next power of ten.' : 'The group is counted on, and the log has no line about it meanwhile.'}</p>,
    button: isMuted ? 'Log' : 'Mute',
    act: () => call('PUT', `${path}/mute`, { hours: isMuted ? 0 : MUTE_HOURS }),
  });
  const forget = () => setOrder({
    title: `Forget ${name}`,
    text: <p>Its counts and samples go. If the error comes again, it is new.</p>,
    button: 'Forget',
    act: async () => {
      await call('DELETE', path);
      location.hash = link('errors');
    },
  });
  return (
    <>
      <div class="title"><h1>Client errors</h1><a href={link('errors')}>All groups</a></div>
      <Fault text={group === undefined ? fault : undefined} />
      {group !== undefined && (
        <>
          <Card title={group.name || 'Error'} wide aside={<code>{group.fingerprint}</code>}>
            <p class="prose"><bdi>{group.newest.message}</bdi></p>
            <dl class="facts">
              <dt>Times</dt><dd>{whole(group.count)}, of {users(group)} users</dd>
              <dt>Took</dt><dd>{group.levels.join(', ')}</dd>
              <dt>First</dt><dd>{clock(group.since)}</dd>
              <dt>Last</dt><dd>{clock(group.seen)}</dd>
              <dt>Releases</dt><dd>{group.releases.join(', ') || 'not named'}</dd>
              {isMuted && <><dt>Muted</dt><dd>until {clock(group.muted_until ?? 0)}</dd></>}
            </dl>
            <Hours counts={group.hours} />
            {answer.scope === 'operate' && <p class="buttons"><button type="button" onClick={mute}>{isMuted ? 'Log again…' : `Mute ${MUTE_HOURS} h…`}</button><button type="button" class="danger" onClick={forget}>Forget…</button></p>}
          </Card>
          <Sample title="Newest" sample={group.newest} />
          {group.count > 1 && <Sample title="First" sample={group.first} />}
        </>
      )}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </>
  );
}

/** The last 24 hours as columns. */
function Hours({ counts }: { counts: number[] }) {
  const most = Math.max(1, ...counts);
  return (
    <div class="probes" role="img" aria-label={`errors per hour, at most ${most}; in this hour ${counts.at(-1) ?? 0}`}>
      {counts.map((count, at) => <span key={at} class={count > 0 ? 'bad' : 'none'} style={{ height: `${Math.max(4, (count / most) * 100)}%` }} title={whole(count)} />)}
    </div>
  );
}

function Sample({ title, sample }: { title: string; sample: ErrorSample }) {
  const context = Object.entries(sample.context);
  return (
    <Card title={title} wide aside={<State of="none">scrubbed by the client</State>}>
      {context.length > 0 && <dl class="facts">{context.map(([key, value]) => <><dt key={key}>{key}</dt><dd>{value}</dd></>)}</dl>}
      <pre>{sample.stack || sample.message}</pre>
      {sample.component !== '' && <pre>{sample.component}</pre>}
    </Card>
  );
}
