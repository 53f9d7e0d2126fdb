// DOM helpers for all parts of the page. Text is always inserted as text: nothing here parses markup.

/** Returns the element with this id in index.html. */
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

/** Sets an element's text only if it differs, so that a screen reader does not read it again. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
