// What a tab remembers over a reload. A browser may forbid all of it; the page then works without.

function read(storage: () => Storage, key: string): string {
  try {
    return storage().getItem(key) ?? '';
  } catch {
    return '';
  }
}

function write(storage: () => Storage, key: string, value: string): void {
  try {
    storage().setItem(key, value);
  } catch {
    // Forgotten with the tab.
  }
}

const tab = (): Storage => sessionStorage;
const browser = (): Storage => localStorage;

/** The name that goes with messages. All tabs share the one given last; a tab keeps its own until it is closed. */
export const name = {
  read: (): string => read(tab, 'seawall.name') || read(browser, 'seawall.name'),
  /** For a name that nobody chose: other tabs get one of their own. */
  keep: (value: string): void => write(tab, 'seawall.name', value),
  write(value: string): void {
    write(tab, 'seawall.name', value);
    write(browser, 'seawall.name', value);
  },
};

/** Goes with the tab. Nothing else reads it: the page runs no script but its own. */
export const token = {
  read: (): string => read(tab, 'seawall.token'),
  write: (value: string): void => write(tab, 'seawall.token', value),
};

const KEYS_MAX = 500;

/**
 * The keys of what was sent from this browser. Without auth everybody is `anonymous`, and this alone tells whose
 * message is whose.
 */
export class OwnKeys {
  private readonly known = new Set<string>();

  /** `changed` is called when another tab added some. */
  constructor(changed: () => void) {
    this.refresh();
    addEventListener('storage', (event) => {
      if (event.key !== 'seawall.keys') return;
      this.refresh();
      changed();
    });
  }

  private refresh(): void {
    for (const key of read(browser, 'seawall.keys').split(' ')) if (key !== '') this.known.add(key);
  }

  add(key: string): void {
    if (this.known.has(key)) return;
    this.refresh();
    this.known.add(key);
    write(browser, 'seawall.keys', [...this.known].slice(-KEYS_MAX).join(' '));
  }

  has(key: string | undefined): boolean {
    return key !== undefined && this.known.has(key);
  }
}
