/** The texts of all parts. An app replaces them, or some of them, with `createKit({ words })`. */

import type { Level } from './ladder.js';

/** The texts of answers, of `seawall-react/streams`. */
export interface AnswerWords {
  /** The question is stored, and its backend does not have it yet. */
  readonly accepted: string;
  /** As `accepted`, while the gateway reports that replies are lost. */
  readonly late: string;
  /** The backend has the question. */
  readonly processing: string;
  readonly streaming: string;
  readonly paused: string;
  readonly cancelling: string;
  readonly failed: string;
  /** The backend did not take the question, or refused it. */
  readonly undelivered: string;
  readonly cancelled: string;
  readonly interrupted: string;
  /** Says what happens between texts, by the type of the event. */
  readonly event: (type: string) => string;
  readonly stop: string;
  readonly tryAgain: string;
}

export interface Words {
  readonly answers?: Partial<AnswerWords>;
  /** Says what failed, by level. */
  readonly failed: Readonly<Record<Level, string>>;
  readonly showAgain: string;
  readonly tryAgain: string;
  readonly reload: string;
  readonly details: string;
  readonly reference: (reference: string) => string;
  readonly copy: string;
  readonly copied: string;
  readonly copyDetails: string;
  /** Heads the texts in the outbox. */
  readonly unsent: (count: number) => string;
  /** Says that texts are kept by the browser. */
  readonly kept: (count: number) => string;
  readonly online: string;
  readonly reconnecting: string;
  readonly offline: string;
  readonly stopped: string;
  readonly since: (time: string) => string;
  readonly retryIn: (seconds: number) => string;
  readonly connectNow: string;
  /** Says what still works without a connection. */
  readonly later: string;
  readonly back: string;
  readonly unwell: (lost: readonly string[]) => string;
  readonly messages: string;
  readonly newMessages: (count: number) => string;
  readonly olderMessages: string;
  readonly latest: string;
  readonly deleted: string;
  readonly gap: (count: number) => string;
  readonly reset: string;
}

const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;

export const WORDS: Words = {
  failed: {
    message: 'Shown as plain text',
    thread: 'The messages are shown as plain text.',
    chat: 'The chat cannot be shown.',
    app: 'This page cannot be shown.',
  },
  showAgain: 'Show again',
  tryAgain: 'Try again',
  reload: 'Reload',
  details: 'Details',
  reference: (reference) => `Reference: ${reference}`,
  copy: 'Copy',
  copied: 'Copied',
  copyDetails: 'Copy details',
  unsent: (count) => `Not sent yet: ${count}`,
  kept: (count) => `${plural(count, 'unsent message')} ${count === 1 ? 'is' : 'are'} safe in this browser.`,
  online: 'Connected',
  reconnecting: 'Reconnecting…',
  offline: 'This device has no network.',
  stopped: 'Disconnected.',
  since: (time) => `Since ${time}.`,
  retryIn: (seconds) => `Next attempt in ${seconds} s.`,
  connectNow: 'Connect now',
  later: 'What you write now is sent later.',
  back: 'Everything works again.',
  unwell: (lost) => (lost.length > 0 ? `Not available now: ${lost.join(', ')}.` : 'Some services have problems.'),
  messages: 'Messages',
  newMessages: (count) => plural(count, 'new message'),
  olderMessages: 'Earlier messages',
  latest: 'Latest messages',
  deleted: 'Message deleted',
  gap: (count) => `${plural(count, 'message')} here ${count === 1 ? 'is' : 'are'} no longer stored.`,
  reset: 'This channel was reset. Earlier messages may be gone.',
};
