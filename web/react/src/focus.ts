/** The keyboard's place on the page. */

const CAN_FOCUS = 'a[href],button,input,textarea,select,[tabindex="0"]';

/**
 * Notes the place of a fallback whose button has the focus. The result moves the focus to what has replaced the fallback: a browser gives
 * it to the page, and a reader with a keyboard would begin at the top.
 */
export function placeOfFocus(): () => void {
  const button = document.activeElement;
  // A thread's has a card in it.
  const fallback = button?.closest('.sw-thread') ?? button?.closest('.sw-plain,.sw-card');
  const before = fallback?.previousElementSibling;
  const around = fallback?.parentElement;
  return () => {
    const now = (before ? before.nextElementSibling : around?.firstElementChild) as HTMLElement | null | undefined;
    if (!now || fallback!.isConnected) return;
    const to = now.closest<HTMLElement>('.sw-row') ?? now.querySelector<HTMLElement>(CAN_FOCUS) ?? now;
    // Else a plain element takes no focus.
    if (to.tabIndex < 0) to.tabIndex = -1;
    to.focus();
  };
}
