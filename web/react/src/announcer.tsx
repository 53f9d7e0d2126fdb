import { useEffect, useState, type ReactNode } from 'react';
import { PACE_MS, type Announcement } from './announcements.js';
import { useKit } from './use-kit.js';

/**
 * Not in the style sheet, so that the texts are never seen; and not an attribute, which a policy without 'unsafe-inline' forbids in the
 * HTML of a server.
 */
const HIDDEN = { position: 'absolute', width: '1px', height: '1px', overflow: 'hidden', clipPath: 'inset(50%)', whiteSpace: 'nowrap' };
export const hide = (node: HTMLElement | null): void => { if (node) Object.assign(node.style, HIDDEN); };

/** Two live regions, one polite and one assertive, which are given one text at a time. The provider has one. */
export function Announcer(): ReactNode {
  const kit = useKit();
  const [now, setNow] = useState<Announcement>();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const next = () => {
      const [first, ...rest] = kit.announcements.value;
      timer = first && setTimeout(next, PACE_MS);
      if (!first) return;
      kit.announcements.set(rest);
      // A region that is given the same text again is silent.
      setNow((last) => (last?.text === first.text ? { ...first, text: `${first.text}\u00a0` } : first));
    };
    const stop = kit.announcements.subscribe(() => { timer ??= setTimeout(next); });
    timer = setTimeout(next);
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [kit]);
  return (
    <div ref={hide}>
      <div role="status">{now && !now.urgent ? now.text : ''}</div>
      <div role="alert">{now?.urgent ? now.text : ''}</div>
    </div>
  );
}

/** Returns a function that has a text read by a screen reader: `urgent` before all others, for failures. */
export const useAnnounce = (): ((text: string, urgent?: boolean) => void) => useKit().announce;
