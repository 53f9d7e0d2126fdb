import { useState } from 'preact/hooks';
import { Card, Fault, Table, useAnswer } from '../parts.tsx';
import type { Setting } from '../types.ts';
import type { PageProps } from './overview.tsx';

/** Between two questions: a reload of the configuration changes settings. */
const SETTINGS_MS = 10_000;

/** Settings whose name, value or origin has all words of a text; without one, all that differ from the default. */
export function matching(settings: Setting[], text: string): Setting[] {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return settings.filter(({ origin }) => origin !== 'default');
  return settings.filter(({ section, key, value, origin }) => {
    const line = `${section}.${key} ${value ?? ''} ${origin}`.toLowerCase();
    return words.every((word) => line.includes(word));
  });
}

export function Settings({ live }: PageProps) {
  const { answer: found, fault } = useAnswer<{ file: string | null; settings: Setting[] }>('../settings', Math.floor(live.at / SETTINGS_MS));
  const [text, setText] = useState('');
  const shown = found === undefined ? [] : matching(found.settings, text);
  return (
    <>
      <div class="title"><h1>Settings</h1></div>
      <div class="card search"><label class="grow">Find in names, values and origins<input value={text} onInput={(event) => setText(event.currentTarget.value)} maxLength={100} autoComplete="off" spellcheck={false} /></label></div>
      <Fault text={found === undefined ? fault : undefined} />
      {found !== undefined && (
        <Card title={text.trim() === '' ? 'Not at their defaults' : 'Found'} wide aside={`${shown.length} of ${found.settings.length}; file: ${found.file ?? 'none'}`}>
          <Table
            label="settings" rows={shown} id={(one) => `${one.section}.${one.key}`} empty={text.trim() === '' ? 'All settings have their defaults.' : 'No setting has these words.'}
            columns={[
              { title: 'Setting', cell: (one) => <span class="wrap"><code>{one.section}.{one.key}</code></span> },
              { title: 'Value', cell: (one) => <span class="wrap">{one.value ?? 'not set'}</span> },
              { title: 'From', cell: (one) => <span class="wrap">{one.origin}</span> },
              { title: 'Changes at', cell: (one) => one.applies },
            ]}
          />
        </Card>
      )}
      <p class="prose quiet">As <code>seawall check-config</code> prints them, of the running process. Secrets are never shown. docs/configuration.md says what each decides.</p>
    </>
  );
}
