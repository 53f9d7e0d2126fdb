// The kit as a first view needs it: in the page's script this file is `seawall-react`, whose own index has components that come later.

export { useAnnounce } from '../../react/src/announcer.tsx';
export { AppBoundary, ChatBoundary, MessageBoundary, ThreadBoundary } from '../../react/src/boundaries.tsx';
export { useConnection, useOutbox, useSeawall, useStatus } from '../../react/src/hooks.ts';
export { createKit } from '../../react/src/kit.ts';
export { SeawallProvider } from '../../react/src/provider.tsx';
export { plainText } from '../../react/src/text.ts';
