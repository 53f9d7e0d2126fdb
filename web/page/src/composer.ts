// Where a message is written: the draft, what is being edited, and the line above it that hints and says who types.

import { at, say } from './dom.ts';

const form = at<HTMLFormElement>('composer');
const draft = at<HTMLTextAreaElement>('draft');
const send = at('send');
const hint = at('hint');
const hintText = at('hint-text');
const leave = at('leave-edit');

export interface Writing {
  /** `editing` is the offset of the message that the text replaces. */
  submit(text: string, editing: number | undefined): void;
  typed(): void;
}

let editing: number | undefined;
let fault = '';
let typing = '';

export function listen(writing: Writing): void {
  const submit = (): void => {
    const text = draft.value.trim();
    if (text === '') return;
    const replaced = editing;
    fault = '';
    editing = undefined;
    write('');
    paint();
    writing.submit(text, replaced);
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
    if (draft.value !== '') writing.typed();
  });
  leave.addEventListener('click', () => {
    stopEditing();
    draft.focus();
  });
}

/** Puts text up for editing: that of the stored message at `offset`, or of one that was never sent. */
export function edit(text: string, offset: number | undefined): void {
  editing = offset;
  fault = '';
  write(text);
  paint();
  draft.focus();
}

/** A text that was not taken comes back, unless the next one is being written. */
export function giveBack(text: string, offset: number | undefined): void {
  if (draft.value === '') edit(text, offset);
}

export function stopEditing(): void {
  if (editing === undefined) return;
  editing = undefined;
  write('');
  paint();
}

/** Says who types; what is wrong with the draft goes first. */
export function showTyping(text: string): void {
  typing = text;
  paint();
}

/** Says something about what was asked for, until the draft changes. */
export function showFault(text: string): void {
  fault = text;
  paint();
}

function paint(): void {
  hint.className = fault === '' ? '' : 'bad';
  say(hintText, fault !== '' ? fault : editing !== undefined ? 'Editing a message.' : typing);
  leave.hidden = editing === undefined;
  say(send, editing === undefined ? 'Send' : 'Save');
}

function write(text: string): void {
  draft.value = text;
  fit();
}

function fit(): void {
  draft.style.height = 'auto';
  draft.style.height = `${draft.scrollHeight + 2}px`;
}
