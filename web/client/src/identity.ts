/** The user that a session's publications belong to. */

import type { SessionState } from './state.js';

/** Reads the claim `sub` of a JWT without checking it. Returns `undefined` for every other token. */
export function subjectOf(token: string | undefined): string | undefined {
  try {
    const payload = atob(token!.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/'));
    const { sub } = JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (char) => char.charCodeAt(0))));
    return typeof sub === 'string' && sub ? sub : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the user that new publications belong to, once it is known. Before the first connection only a token can name it. */
export const author = ({ subject, user, limits }: SessionState): string | undefined => subject ?? (limits && user);

/** Returns the names of the session's user. Empty while it is unknown. */
export const users = ({ subject, user }: SessionState): string[] => [...new Set([subject, user].filter((name) => name !== undefined))];

/** True if a publication by `author` may be shown to the session's user and sent. An unknown author is the app of this session. */
export const owns = ({ subject, user }: SessionState, author: string | undefined): boolean =>
  author === undefined || author === subject || author === user;

/** Records whom a new token is for. For another user, the gateway's name of the last one and its flags no longer count. */
export function identify(s: SessionState, token: string): void {
  const subject = s.account ?? subjectOf(token);
  if (subject === undefined || subject === s.subject) return;
  if (s.subject !== undefined) s.user = s.flags = undefined;
  s.subject = subject;
}
