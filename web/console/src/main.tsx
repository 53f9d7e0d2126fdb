/** The frame of the console: log in, poll, and show the page that the hash names. */

import { render } from 'preact';
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { logIn, logOut, session } from './api.ts';
import { lasting } from './format.ts';
import { Live, OLD_MS } from './live.ts';
import { Alerts } from './pages/alerts.tsx';
import { Clients } from './pages/clients.tsx';
import { Dependencies } from './pages/dependencies.tsx';
import { DrainPage } from './pages/drain.tsx';
import { Errors } from './pages/errors.tsx';
import { Flags } from './pages/flags.tsx';
import { Login, Logo } from './pages/login.tsx';
import { LookUp } from './pages/lookup.tsx';
import { Overview } from './pages/overview.tsx';
import { Relay } from './pages/relay.tsx';
import { Settings } from './pages/settings.tsx';
import { Slos } from './pages/slos.tsx';
import { State } from './parts.tsx';
import { link, readRoute } from './route.ts';
import type { LiveAnswer } from './types.ts';

const VIEWS = {
  overview: ['Overview', Overview], slos: ['SLOs', Slos], dependencies: ['Dependencies', Dependencies], clients: ['Clients', Clients],
  errors: ['Client errors', Errors], lookup: ['Look up', LookUp], alerts: ['Alerts', Alerts], relay: ['Relay', Relay], flags: ['Flags', Flags], drain: ['Drain', DrainPage],
  settings: ['Settings', Settings],
} as const;

const LEVELS: Record<string, string> = { ok: 'All is well', degraded: 'Degraded', down: 'Down' };

function useRoute() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return readRoute(hash);
}

function Banner({ answer }: { answer: LiveAnswer }) {
  const { status, status_since, alerts, drain, now } = answer;
  const count = Object.keys(answer.health.checks).length - 1;
  return (
    <div class="banner" data-level={status.level} role="status">
      <State of={status.level}><b>{LEVELS[status.level] ?? status.level}</b></State>
      <span class="text">
        {status.message !== undefined && <b>{status.message} </b>}
        for {lasting(now - status_since)}.{status.level === 'ok' && count > 0 ? ` ${count === 1 ? '1 dependency answers' : `${count} dependencies answer`}.` : ''}
        {status.lost.length > 0 && ` Lost: ${status.lost.join(', ')}.`}
      </span>
      {drain.since !== undefined && <a href={link('drain')}>{answer.instance} drains</a>}
      {alerts.length > 0 && <a href={link('alerts')}>{alerts.length === 1 ? '1 alert' : `${alerts.length} alerts`}</a>}
    </div>
  );
}

function Console({ leave }: { leave: (why?: string) => void }) {
  const [, render] = useReducer((count: number) => count + 1, 0);
  const held = useRef<Live | undefined>(undefined);
  const live = (held.current ??= new Live(() => render(undefined), (why) => {
    session.clear();
    leave(why.message);
  }));
  const { page, options } = useRoute();
  useEffect(() => {
    live.start();
    // The age of the data is shown even while no answer comes.
    const timer = setInterval(() => render(undefined), 1_000);
    return () => {
      clearInterval(timer);
      live.stop();
    };
  }, []);
  const view = VIEWS[page as keyof typeof VIEWS];
  useEffect(() => {
    document.title = `${view[0]} · ${live.answer?.instance ?? 'Seawall'}`;
    document.querySelector('nav.pages [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [page, live.answer?.instance]);
  const { answer, fault } = live;
  const age = answer === undefined ? 0 : Date.now() - live.at;
  const isOld = age > OLD_MS;
  const Page = view[1];
  return (
    <div class={isOld ? 'frame old' : 'frame'}>
      <aside>
        <a class="brand" href={link('overview')}><Logo /> Seawall</a>
        <nav class="pages" aria-label="pages">
          {Object.entries(VIEWS).map(([name, [title]]) => (
            <a key={name} href={link(name)} aria-current={name === page ? 'page' : undefined}>{title}{name === 'alerts' && (answer?.alerts.length ?? 0) > 0 && <span class="count">{answer?.alerts.length}</span>}</a>
          ))}
        </nav>
        <footer>
          <p class="age" role="status">
            <State of={isOld || fault !== undefined ? 'degraded' : 'ok'}>{answer === undefined ? 'connecting' : live.isPaused ? 'paused' : fault === undefined ? 'live' : 'no answer'}{answer !== undefined && `, ${lasting(age)} old`}</State>
          </p>
          <p><button type="button" class="plain" onClick={() => live.setPaused(!live.isPaused)}>{live.isPaused ? 'Go on' : 'Pause'}</button> <button type="button" class="plain" onClick={() => void logOut().then(() => leave())}>Log out</button></p>
          {answer !== undefined && <p class="quiet">{answer.instance}, {answer.version}{answer.scope === 'read' && ', read only'}</p>}
        </footer>
      </aside>
      <main>
        {isOld && <div class="banner" data-level="degraded" role="alert"><State of="degraded"><b>{live.isPaused ? 'Paused' : `No answer from ${answer?.instance ?? 'the gateway'}`}</b></State><span class="text">for {lasting(age)}. What you see is that old.{!live.isPaused && fault !== undefined && ` ${fault.message}`}</span></div>}
        {answer === undefined ? <p class="empty">{fault === undefined ? 'Connecting…' : `No answer: ${fault.message}`}</p> : <><Banner answer={answer} /><Page live={live} answer={answer} options={options} /></>}
      </main>
    </div>
  );
}

function App({ first }: { first: string | undefined }) {
  const [state, setState] = useState<{ isIn: boolean; why: string | undefined }>({ isIn: session.get() !== null, why: first });
  if (!state.isIn) return <Login why={state.why} done={() => setState({ isIn: true, why: undefined })} />;
  return <Console leave={(why) => setState({ isIn: false, why })} />;
}

/** Exchanges the code of a link. The code leaves the address bar before anything else happens. */
async function arrive(): Promise<string | undefined> {
  const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
  if (code === undefined) return undefined;
  history.replaceState(null, '', location.pathname + location.search);
  session.clear();
  try {
    await logIn({ code });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

// A link that is pasted into a tab of the console changes only the hash, which loads nothing.
addEventListener('hashchange', () => {
  if (location.hash.startsWith('#code=')) location.reload();
});

void arrive().then((first) => {
  const root = document.getElementById('app');
  if (root !== null) render(<App first={first} />, root);
});
