// Hides the bar of a phone while a person scrolls up through the log, and shows it when they scroll down or are at the end.

import { useEffect, type ReactNode } from 'react';

/** Distances in pixels: of the finger, and from the end of the log. */
const MOVED = 12;
const NEAR_END = 60;
/** A log that is hardly longer than the screen gains nothing. */
const LONG = 200;

export function HidingBar(): ReactNode {
  useEffect(() => {
    const main = document.getElementById('main')!;
    const end = new AbortController();
    const on = <K extends keyof HTMLElementEventMap>(type: K, run: (event: HTMLElementEventMap[K]) => void) => main.addEventListener(type, run, { signal: end.signal, passive: true, capture: true });
    const logOf = ({ target }: Event) => (target as Element).closest?.('#log .sw-scroll');
    const set = (isHidden: boolean) => main.toggleAttribute('data-reading', isHidden);
    const turn = (event: Event, isUp: boolean) => {
      const log = logOf(event);
      if (log) set(isUp && log.scrollHeight - log.clientHeight > LONG);
    };
    let from = 0;
    on('touchstart', ({ touches }) => { from = touches[0]!.clientY; });
    on('touchmove', (event) => {
      const { clientY } = event.touches[0]!;
      if (Math.abs(clientY - from) < MOVED) return;
      turn(event, clientY > from);
      from = clientY;
    });
    on('wheel', (event) => { if (event.deltaY !== 0) turn(event, event.deltaY < 0); });
    // The place may also change without a finger, by the button for new messages.
    on('scroll', (event) => {
      const log = logOf(event);
      if (log && log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END) set(false);
    });
    return () => {
      end.abort();
      set(false);
    };
  }, []);
  return null;
}
