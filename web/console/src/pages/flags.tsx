import { useState } from 'preact/hooks';
import { call, readText } from '../api.ts';
import { short } from '../format.ts';
import { samples } from '../metrics.ts';
import { Bar, Card, Confirm, Fault, State, Table, useAnswer, type Order } from '../parts.tsx';
import type { Flag } from '../types.ts';
import type { PageProps } from './overview.tsx';

export function Flags({ live, answer }: PageProps) {
  const { answer: found, fault } = useAnswer<{ flags: Flag[] }>('../flags', live.at);
  const { answer: metrics = '' } = useAnswer('../metrics', live.at, readText);
  const [order, setOrder] = useState<Order>();
  const clients = new Map(samples(metrics, 'flag_clients').map(({ labels, value }) => [labels['flag'] ?? '', value]));
  const turn = ({ name, off }: Flag) => setOrder({
    title: off ? `Switch ${name} on again` : `Switch ${name} off`,
    text: <p>{off ? 'Clients that the configuration gives it to have it again' : 'No client has it'} within a second, at {answer.instance} alone{off ? '.' : ' and until its next reload.'}</p>,
    button: off ? 'Switch on' : 'Switch off',
    act: () => call('PUT', `../flags/${encodeURIComponent(name)}`, { on: off }),
  });
  return (
    <>
      <div class="title"><h1>Flags</h1></div>
      <Fault text={found === undefined ? fault : undefined} />
      {found !== undefined && (
        <Card title="Flags" wide aside={`of ${answer.instance}`}>
          <Table
            label="flags" rows={found.flags} id={(one) => one.name} empty="No flag is configured."
            columns={[
              { title: 'Flag', cell: (one) => <span class="wrap"><code>{one.name}</code></span> },
              { title: 'State', cell: (one) => <State of={one.off ? 'down' : 'ok'}>{one.off ? 'off by an operator' : 'as configured'}</State> },
              { title: 'Users', cell: (one) => <span class="with-bar"><Bar share={one.rollout / 100} /><span>{one.rollout} %</span></span> },
              { title: 'Also for', cell: (one) => <span class="wrap">{one.users.join(', ') || '–'}</span> },
              { title: 'Clients', cell: (one) => <span class="wrap">{one.clients.join(', ') || 'all'}</span> },
              { title: 'On now', isNumber: true, cell: (one) => short(clients.get(one.name)) },
              { title: 'Action', cell: (one) => (answer.scope === 'operate' ? <button type="button" onClick={() => turn(one)}>{one.off ? 'On…' : 'Off…'}</button> : '–') },
            ]}
          />
        </Card>
      )}
      {order !== undefined && <Confirm order={order} close={() => setOrder(undefined)} />}
    </>
  );
}
