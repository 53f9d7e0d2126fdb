'use client';
/** The module `seawall-react/streams`: answers while they are written. Separate, so that an app without them does not load it. */

export { Answer, type AnswerProps } from './answer.js';
export { useStreams } from './followed.js';
export { useStream, type UsedStream } from './stream.js';
export type { AnswerWords } from './words.js';
