// The runtimes that the kit runs on: for esbuild, the modules that take the place of React's.

import { fileURLToPath } from 'node:url';

const web = fileURLToPath(new URL('../../', import.meta.url));
const react18 = `${web}tests/react-18/node_modules`;
const compat = `${web}node_modules/preact/compat`;

export const RUNTIMES = {
  'react-19': {},
  'react-18': Object.fromEntries(['react', 'react-dom', 'scheduler'].map((name) => [name, `${react18}/${name}`])),
  compat: {
    react: `${compat}/dist/compat.mjs`,
    'react/jsx-runtime': `${web}node_modules/preact/jsx-runtime/dist/jsxRuntime.mjs`,
    'react-dom': `${compat}/dist/compat.mjs`,
    'react-dom/client': `${compat}/client.mjs`,
    'react-dom/server': `${compat}/server.mjs`,
  },
};

/** The sources instead of built copies. */
export const SOURCES = {
  'seawall-client': `${web}client/src/index.ts`,
  'seawall-client/flags': `${web}client/src/flags.ts`,
  'seawall-client/outbox': `${web}client/src/durable.ts`,
  'seawall-client/presence': `${web}client/src/presence.ts`,
  'seawall-client/reports': `${web}client/src/reports.ts`,
  'seawall-client/streams': `${web}client/src/streams.ts`,
  'seawall-client/telemetry': `${web}client/src/telemetry.ts`,
  'seawall-client/timeline': `${web}client/src/timeline.ts`,
  'seawall-react': `${web}react/src/index.ts`,
  'seawall-react/chat': `${web}react/src/chat.ts`,
  'seawall-react/streams': `${web}react/src/streams.ts`,
};
