import { useEffect, useRef, useState, type ReactNode } from 'react';
import { banner, CALM, type BannerView } from './banner.js';
import { useConnection, useStatus } from './hooks.js';
import { stateText } from './text.js';
import { useKit } from './use-kit.js';
import type { Words } from './words.js';

const clockTime = (at: number): string => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

/** The seconds until the next attempt. A screen reader would read them without end, so they are hidden from it. */
function Countdown({ until, words }: { readonly until: number; readonly words: Words }): ReactNode {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return <span aria-hidden="true">{words.retryIn(Math.max(0, Math.ceil((until - now) / 1_000)))}</span>;
}

/** Says what is wrong with the connection or the gateway: nothing for 2 s, then a line, after 5 s the cause; and for 4 s that all is well again. */
export function StatusBanner(): ReactNode {
  const kit = useKit();
  const { words } = kit;
  const { phase, online, because, retryAt, reconnect } = useConnection();
  const { level, lost, message, since: unwellSince } = useStatus();
  const memory = useRef(CALM);
  const [view, setView] = useState<BannerView>('nothing');
  const input = { online, hasFailed: because !== undefined, closed: phase === 'closed', unwell: level === 'degraded' || level === 'down' };
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      const now = kit.now();
      const [next, shown, again] = banner(memory.current, input, now);
      memory.current = next;
      setView(shown);
      if (again !== undefined) timer = setTimeout(look, again - now);
    };
    look();
    return () => clearTimeout(timer);
  }, [kit, input.online, input.hasFailed, input.closed, input.unwell]);
  const cause = phase === 'offline' ? words.offline : `${stateText(phase, words)} ${because?.message ?? ''}`;
  const text = { nothing: '', text: words.reconnecting, card: cause, status: message ?? words.unwell(lost), back: words.back }[view];
  // A short line comes and goes: a screen reader reads the rest only.
  const spoken = view === 'text' ? '' : text;
  useEffect(() => { if (spoken) kit.announce(spoken); }, [kit, spoken]);
  if (view === 'nothing') return null;
  const since = view === 'card' ? memory.current.since : view === 'status' ? unwellSince : undefined;
  return (
    <div className="sw-banner" data-view={view} data-level={view === 'status' ? level : undefined}>
      <span>{text}</span>
      {since !== undefined && <span>{words.since(clockTime(since))}</span>}
      {view === 'card' && (
        <>
          {retryAt !== undefined && <Countdown until={retryAt} words={words} />}
          {phase !== 'closed' && <span>{words.later}</span>}
          {because?.reference && <span>{words.reference(because.reference)}</span>}
          <button type="button" onClick={reconnect}>{words.connectNow}</button>
        </>
      )}
    </div>
  );
}
