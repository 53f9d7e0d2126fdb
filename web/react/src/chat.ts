'use client';
/** The module `seawall-react/chat`: the messages of a channel. Separate, so that an app that draws its messages in another way does not load it. */

export { clearDrafts, useChannel, useDraft, usePublish, type Publish, type UsedChannel } from './channel.js';
export { MessageList, type MessageListProps, type RowState } from './list.js';
export type { ChannelView, RoomOptions } from './rooms.js';
export { usePresence } from './roster.js';
export type { ListItem } from './window.js';
