// The page at `/`, built on the React kit.

import { createRoot } from 'react-dom/client';
import { AppBoundary, createKit } from 'seawall-react';
import { App } from './app.tsx';
import { loaded } from './load.ts';

const kit = createKit({ release: 'seawall-page/1', reports: async (client) => (await loaded()).reports(client) });
createRoot(document.getElementById('app')!).render(<AppBoundary kit={kit}><App kit={kit} /></AppBoundary>);
