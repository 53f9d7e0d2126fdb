// The page at `/`, built on the React kit.

import { createRoot } from 'react-dom/client';
import { reports } from 'seawall-client/reports';
import { AppBoundary, createKit } from 'seawall-react';
import { App } from './app.tsx';

const kit = createKit({ release: 'seawall-page/1', reports });
createRoot(document.getElementById('app')!).render(<AppBoundary kit={kit}><App kit={kit} /></AppBoundary>);
