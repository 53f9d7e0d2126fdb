// The message composer: the draft, the message being edited, and the hint line above it.

import { at, setText } from './dom.ts';

const form = at<HTMLFormElement>('composer');
const draft = at<HTMLTextAreaElement>('draft');
const send = at('send');
const hint = at('hint');
const hintText = at('hint-text');
const leave = at('leave-edit');

export interface ComposerEvents {
  /** `editing` is the offset of the message that the text replaces. */
  submit(text: string, editing: number | undefined): void;
  typed(): void;
}

let editing: number | undefined;
let fault = '';
let typing = '';

export function listen(events: ComposerEvents): void {
  const submit = (): void => {
    const text = draft.value.trim();
    if (text === '') return;
    const replaced = editing;
    fault = '';
    editing = undefined;
    write('');
    paint();
    events.submit(text, replaced);
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  draft.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') stopEditing();
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  draft.addEventListener('input', () => {
    fault = '';
    fit();
    paint();
    if (draft.value !== '') events.typed();
  });
  leave.addEventListener('click', () => {
    stopEditing();
    draft.focus();
  });
}

/** Puts a text into the draft: of the stored message at `offset`, or of a message that was never sent. */
export function edit(text: string, offset: number | undefined): void {
  editing = offset;
  fault = '';
  write(text);
  paint();
  draft.focus();
}

/** Restores a refused text to the draft, unless the next message is being written. */
export function restore(text: string, offset: number | undefined): void {
  if (draft.value === '') edit(text, offset);
}

export function stopEditing(): void {
  if (editing === undefined) return;
  editing = undefined;
  write('');
  paint();
}

/** Shows the text about typing users. A fault of the draft takes precedence. */
export function showTyping(text: string): void {
  typing = text;
  paint();
}

/** Shows a fault until the draft changes. */
export function showFault(text: string): void {
  fault = text;
  paint();
}

function paint(): void {
  hint.className = fault === '' ? '' : 'bad';
  setText(hintText, fault !== '' ? fault : editing !== undefined ? 'Editing a message.' : typing);
  leave.hidden = editing === undefined;
  setText(send, editing === undefined ? 'Send' : 'Save');
}

function write(text: string): void {
  draft.value = text;
  fit();
}

function fit(): void {
  draft.style.height = 'auto';
  draft.style.height = `${draft.scrollHeight + 2}px`;
}
