// The few verbs that every part of the page needs to draw. Text is only ever text: nothing here parses markup.

/** An element of the page that index.html has. */
export function at<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no #${id}`);
  return found as Kind;
}

export function make(tag: string, className: string, ...content: (string | Node)[]): HTMLElement {
  const element = document.createElement(tag);
  if (className !== '') element.className = className;
  element.append(...content);
  return element;
}

export function button(label: string, act: (element: HTMLButtonElement) => void): HTMLButtonElement {
  const element = make('button', 'plain', label) as HTMLButtonElement;
  element.type = 'button';
  element.addEventListener('click', () => act(element));
  return element;
}

/** Writes only what differs, so that a screen reader is not told the same again. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
