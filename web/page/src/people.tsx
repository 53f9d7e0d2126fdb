// The people in the open channel and, in an outage, what works.

import type { ReactNode } from 'react';
import { useStatus } from 'seawall-react';
import { usePresence } from '../../react/src/roster.ts';
import { PRESENT } from './opened.ts';
import { Face } from './parts.tsx';
import { works } from './works.ts';

/** Members that are listed. */
const PEOPLE_MAX = 30;

/** The users in a channel; with auth off there is one, and how many pages they have open. */
export function People({ channel }: { readonly channel: string }): ReactNode {
  const { users, members, connections, complete } = usePresence(channel, PRESENT);
  if (users === 0 && connections === 0) return null;
  const isAnonymous = members.size === 1 && members.has('anonymous');
  const names = isAnonymous ? [] : [...members.keys()];
  return (
    <section aria-label="People">
      <h2>{isAnonymous ? `${connections} ${connections === 1 ? 'guest' : 'guests'} here` : `${users} here${complete ? '' : ', perhaps others'}`}</h2>
      {names.length > 0 && <ul className="people">{names.slice(0, PEOPLE_MAX).map((name) => <li key={name}><Face name={name} /><bdi>{name}</bdi></li>)}</ul>}
      {names.length > PEOPLE_MAX && <p className="quiet">{`and ${names.length - PEOPLE_MAX} more`}</p>}
    </section>
  );
}

/** The list of what works, while something does not. */
export function Works(): ReactNode {
  const { lost } = useStatus();
  const all = works(lost);
  if (all.length === 0) return null;
  return (
    <section id="works" aria-label="What works now">
      <h2>What works now</h2>
      <ul>{all.map(({ name, works: isThere }) => <li key={name} className={isThere ? 'good' : 'bad'}><span aria-hidden="true">{isThere ? '✓' : '✗'}</span>{name}<span className="visually-hidden">{isThere ? ': works' : ': not now'}</span></li>)}</ul>
    </section>
  );
}
