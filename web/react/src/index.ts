'use client';
/** React components and hooks for chats on the Seawall gateway. */
export { Announcer, useAnnounce } from './announcer.js';
export {
  AppBoundary, ChatBoundary, MessageBoundary, ThreadBoundary, type BoundaryProps, type Fallback, type MessageBoundaryProps, type ThreadBoundaryProps,
} from './boundaries.js';
export type { ErrorGroup, Errors } from './errors.js';
export {
  useChannel, useConnection, useDraft, useErrors, useFlag, useLost, useOutbox, usePresence, usePublish, useSeawall, useStatus,
  type Connection, type GatewayStatus, type Publish, type UsedChannel, type UsedOutbox,
} from './hooks.js';
export { createKit, type Kit, type KitOptions } from './kit.js';
export { POLICY, type Level, type LevelPolicy, type Policy } from './ladder.js';
export { MessageList, type MessageListProps, type RowState } from './list.js';
export { SeawallProvider, type GivenClientProps, type OwnClientProps, type SeawallProviderProps } from './provider.js';
export { rootOptions, type RootOptions } from './root.js';
export type { ChannelView, RoomOptions } from './rooms.js';
export { StatusBanner } from './status.js';
export { plainText } from './text.js';
export type { ListItem } from './window.js';
export { WORDS, type Words } from './words.js';
