// The forms for a token.

import { useState, type FormEvent, type ReactNode } from 'react';

export function TokenField({ value, onChange }: { readonly value: string; readonly onChange: (text: string) => void }): ReactNode {
  return <label className="field">Token<input id="token" type="password" autoComplete="off" spellCheck={false} value={value} onChange={(event) => onChange(event.target.value)} /></label>;
}

const sentence = (text: string): string => {
  const rest = text.replace(/^stopped: /, '');
  return `${rest.charAt(0).toUpperCase()}${rest.slice(1)}${/[.!?]$/.test(rest) ? '' : '.'}`;
};

/** Shown in place of the log while the page cannot connect without a valid token. */
export function SignIn({ text, onToken }: { readonly text: string; readonly onToken: (token: string) => void }): ReactNode {
  const [token, setToken] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onToken(token.trim());
  };
  return (
    <form id="token-form" className="card" onSubmit={submit}>
      <p className="lead">Sign in</p>
      <p role="alert">{sentence(text)}</p>
      <TokenField value={token} onChange={setToken} />
      <div className="row end"><button type="submit" className="strong">Connect</button></div>
    </form>
  );
}

/** Asks whether the token of a link may replace the session of this tab. */
export function Offer({ onAnswer }: { readonly onAnswer: (isTaken: boolean) => void }): ReactNode {
  return (
    <form id="offer" className="row" role="alert" onSubmit={(event) => { event.preventDefault(); onAnswer(true); }}>
      <span>This link carries a token. Sign in with it?</span>
      <button type="submit" className="strong">Sign in</button>
      <button type="button" id="offer-ignore" onClick={() => onAnswer(false)}>Ignore</button>
    </form>
  );
}
