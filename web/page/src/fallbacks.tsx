// The fallbacks of the kit's boundaries, which are loaded later. An error before that is rare: then a line says what failed.

import { useEffect, type ComponentType, type ReactNode } from 'react';
import type { Level, Words } from 'seawall-react';
import { load, useLater } from './load.ts';

type Name = 'AppPage' | 'ChatCard' | 'PlainMessage' | 'PlainThread';

interface Shown {
  readonly words: Words;
  /** Of a message. */
  readonly text?: unknown;
}

const late = (name: Name, level: Level) => (props: Shown): ReactNode => {
  const later = useLater();
  useEffect(() => void load(), []);
  const Whole = later?.[name] as ComponentType<Shown> | undefined;
  return Whole ? <Whole {...props} /> : <p role="alert">{typeof props.text === 'string' ? props.text : props.words.failed[level]}</p>;
};

export const AppPage = late('AppPage', 'app');
export const ChatCard = late('ChatCard', 'chat');
export const PlainMessage = late('PlainMessage', 'message');
export const PlainThread = late('PlainThread', 'thread');
