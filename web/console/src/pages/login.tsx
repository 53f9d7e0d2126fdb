import { useState } from 'preact/hooks';
import { logIn } from '../api.ts';
import { Fault } from '../parts.tsx';

const COMMAND = 'seawall console';

export function Login({ why, done }: { why: string | undefined; done: () => void }) {
  const [fault, setFault] = useState(why);
  const [isCopied, setIsCopied] = useState(false);
  const submit = async (event: SubmitEvent & { currentTarget: HTMLFormElement }) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get('token')).trim();
    try {
      await logIn({ token });
      done();
    } catch (error) {
      setFault((error as Error).message);
    }
  };
  const copy = () => navigator.clipboard?.writeText(COMMAND).then(() => setIsCopied(true), () => {});
  return (
    <main class="login">
      <div class="card">
        <h1><Logo /> Seawall console</h1>
        <Fault text={fault} />
        <p>Run this on the gateway’s host and open the link that it prints:</p>
        <p class="command"><code>{COMMAND}</code> <button type="button" onClick={() => void copy()}>{isCopied ? 'Copied' : 'Copy'}</button></p>
        <form onSubmit={(event) => void submit(event)}>
          <label class="field">Or paste the admin token<input name="token" type="password" required autoComplete="off" spellcheck={false} /></label>
          <p class="buttons"><button type="submit" class="strong">Log in</button></p>
        </form>
        <p class="quiet">The token is sent once and not kept. The session ends after 30 minutes without a request, and with this tab.</p>
      </div>
    </main>
  );
}

export const Logo = () => (
  <svg class="logo" width="22" height="14" viewBox="0 0 22 14" aria-hidden="true"><path d="M1 10c3.3 0 3.3-2 6.7-2s3.3 2 6.6 2 3.4-2 6.7-2M1 5c3.3 0 3.3-2 6.7-2s3.3 2 6.6 2 3.4-2 6.7-2" /></svg>
);
