// Values that survive a reload. A browser may forbid storage; the page then works without it.

function read(storage: () => Storage, key: string): string {
  try {
    return storage().getItem(key) ?? '';
  } catch {
    return '';
  }
}

function write(storage: () => Storage, key: string, value: string): void {
  try {
    if (value === '') storage().removeItem(key);
    else storage().setItem(key, value);
  } catch {
    // The value is lost with the tab.
  }
}

const tab = (): Storage => sessionStorage;
const browser = (): Storage => localStorage;

/** The display name. New tabs start with the name chosen last; a tab keeps its own until it is closed. */
export const name = {
  read: (): string => read(tab, 'seawall.name') || read(browser, 'seawall.name'),
  /** Stores a generated name for this tab only, so that other tabs generate their own. */
  keep: (value: string): void => write(tab, 'seawall.name', value),
  write(value: string): void {
    write(tab, 'seawall.name', value);
    write(browser, 'seawall.name', value);
  },
};

/** The token, kept for this tab only. The page runs no scripts but its own, so nothing else reads it. */
export const token = {
  read: (): string => read(tab, 'seawall.token'),
  write: (value: string): void => write(tab, 'seawall.token', value),
};

/** The draft of a channel, kept for this tab only. */
export const draft = {
  read: (channel: string): string => read(tab, `seawall.draft.${channel}`),
  write: (channel: string, text: string): void => write(tab, `seawall.draft.${channel}`, text),
};

const KEYS_MAX = 500;

/**
 * The keys of messages sent from this browser. With auth off every user is `anonymous`, so only the keys show which
 * messages are the user's own.
 */
export class OwnKeys {
  private readonly known = new Set<string>();

  /** Calls `changed` when another tab adds keys. */
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
