// The last answer in a page, and what was shown of it.

import { SOON_MS } from './browser.mjs';

/** Records in the page each text and each state that the last answer is shown with, however short. */
export const record = () => {
  window.recorded = { texts: [], states: [] };
  const look = () => {
    const one = [...document.querySelectorAll('.sw-answer')].at(-1);
    const add = (all, value) => { if (value !== undefined && all.at(-1) !== value) all.push(value); };
    add(window.recorded.texts, one?.querySelector('.sw-answer-text')?.textContent);
    add(window.recorded.states, one?.dataset.state);
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ['data-state'] });
};
export const recorded = (tab) => tab.page.evaluate(() => window.recorded);

/** The last answer as the page shows it. */
export const shown = (tab) => tab.page.evaluate(() => {
  const one = [...document.querySelectorAll('.sw-answer')].at(-1);
  return { state: one?.dataset.state, text: one?.querySelector('.sw-answer-text')?.textContent ?? '', note: one?.querySelector('.sw-note span')?.textContent ?? '' };
});
export const reads = (tab, text, ms = SOON_MS) => tab.sees(`the answer is ${JSON.stringify(text)}`, () => shown(tab), (one) => one.text === text, ms);
export const says = (tab, state, note, ms = 2 * SOON_MS) => tab.sees(`the answer is ${state}`, () => shown(tab), (one) => one.state === state && (note === undefined || one.note === note), ms);

/** A model's text in ten pieces: characters of one to four bytes, joined and combining ones, controls, escapes, what looks like HTML. */
export const PIECES = ['Hello, ', 'wörld.\n', '𝒳 ≠ 字 ', 'e\u0301 and ', '👩‍👩‍👧‍👦 🏳️‍🌈 ', '"quoted" \\ back\\n ', '<b>&amp;</b> ', '\u200Fשלום\u200E  two  blanks ', '\ttab \u0007 bell', ' the end 🌍'];
export const WHOLE = PIECES.join('');

/** Checks that what was recorded are beginnings of a text, none of which is shorter than the one before. */
export const isGrowth = (texts, whole) => texts.every((one, index) => whole.startsWith(one) && one.length >= (texts[index - 1] ?? '').length);
