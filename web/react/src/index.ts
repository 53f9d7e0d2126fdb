'use client';
/** React components and hooks for chats on the Seawall gateway. */
export { Announcer, useAnnounce } from './announcer.js';
export {
  AppBoundary, ChatBoundary, MessageBoundary, ThreadBoundary, type BoundaryProps, type Fallback, type MessageBoundaryProps, type ThreadBoundaryProps,
} from './boundaries.js';
export {
  useConnection, useErrors, useFlag, useLost, useOutbox, useSeawall, useStatus, type Connection, type GatewayStatus, type UsedOutbox,
} from './hooks.js';
export type { ErrorGroup, Errors } from 'seawall-client/reports';
export { createKit, type Kit, type KitOptions } from './kit.js';
export { POLICY, type Level, type LevelPolicy, type Policy } from './ladder.js';
export { SeawallProvider, type GivenClientProps, type OwnClientProps, type SeawallProviderProps } from './provider.js';
export { rootOptions, type RootOptions } from './root.js';
export { StatusBanner } from './status.js';
export { plainText } from './text.js';
export { WORDS, type Words } from './words.js';
