// The content of the dialogs: who the user is, which channel to open, and the keys.

import { useEffect, useRef, useState, type ReactNode } from 'react';
import { TokenField } from './signin.tsx';
import { isChannelName } from './words.ts';

const RULE = 'A channel name must be 1 to 128 letters, digits or any of _ . : -';

interface ProfileProps {
  readonly name: string;
  readonly user: string | undefined;
  readonly token: string;
  readonly onSave: (name: string, token: string) => void;
}

export function ProfileDialog({ name, user, token, onSave }: ProfileProps): ReactNode {
  const [newName, setName] = useState(name);
  const [newToken, setToken] = useState(token);
  const isNamed = user !== undefined && user !== 'anonymous';
  return (
    <form onSubmit={(event) => { event.preventDefault(); onSave(newName.trim(), newToken.trim()); }}>
      {isNamed && <p>Signed in as <strong><bdi>{user}</bdi></strong>. Others see this name.</p>}
      <label className="field">{isNamed ? 'Display name (optional)' : 'Your name'}<input id="name" dir="auto" maxLength={40} autoComplete="nickname" value={newName} onChange={(event) => setName(event.target.value)} /></label>
      <TokenField value={newToken} onChange={setToken} />
      <p className="quiet">A token says who you are. Without one you are a guest, where the gateway allows that.</p>
      <div className="row end"><button type="submit" className="strong">Save</button></div>
    </form>
  );
}

interface FindProps {
  readonly names: readonly string[];
  readonly onOpen: (name: string) => void;
}

export function FindDialog({ names, onOpen }: FindProps): ReactNode {
  const [text, setText] = useState('');
  const [isWrong, setWrong] = useState(false);
  const found = names.filter((name) => name.toLowerCase().includes(text.trim().toLowerCase()));
  const field = useRef<HTMLInputElement>(null);
  // The browser gives the focus to the first control of the dialog.
  useEffect(() => field.current!.focus(), []);
  const open = (name: string) => {
    if (isChannelName(name)) onOpen(name);
    else setWrong(true);
  };
  return (
    <form id="channel-form" onSubmit={(event) => { event.preventDefault(); open(text.trim()); }}>
      <label className="field">Name<input
        id="channel" ref={field} maxLength={128} autoComplete="off" autoCapitalize="none" spellCheck={false} value={text} aria-invalid={isWrong} aria-describedby="channel-rule"
        onChange={(event) => { setText(event.target.value); setWrong(false); }}
      /></label>
      <p id="channel-rule" className={isWrong ? 'bad' : 'quiet'} role={isWrong ? 'alert' : undefined}>{isWrong ? RULE : 'A name that is not used yet makes a new channel.'}</p>
      <ul className="found">{found.map((name) => <li key={name}><button type="button" className="item" onClick={() => open(name)}><span className="hash" aria-hidden="true">#</span><bdi>{name}</bdi></button></li>)}</ul>
      <div className="row end"><button type="submit" className="strong">Open</button></div>
    </form>
  );
}

const KEYS: readonly (readonly [string, string])[] = [
  ['Enter', 'send'], ['Shift Enter', 'new line'], ['↑', 'edit your last message, in an empty composer'], ['Esc', 'cancel; from the log back to the composer'],
  ['Ctrl K', 'open a channel'], ['Alt ↑ ↓', 'the channel above or below'], ['↑ ↓', 'move in the log'], ['E, Del', 'edit or delete the message in focus'], ['?', 'this list'],
];

export function KeysDialog(): ReactNode {
  return <dl>{KEYS.map(([key, what]) => <div key={key + what}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>;
}
