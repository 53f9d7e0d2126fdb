// The parts of the page that a first view does not need: a file of their own, which the page loads once it is online.

// All that both files use is in the first, which is then the only one of a first view.
import './main.tsx';

export { AppPage, ChatCard, PlainMessage, PlainThread } from '../../react/src/fallbacks.tsx';
export { StatusBanner } from '../../react/src/status.tsx';
export { Answer } from '../../react/src/answer.tsx';
// By their paths: under their names the build finds what the page has in their place.
export { reports } from '../../client/src/reports.ts';
export { telemetry } from '../../client/src/telemetry.ts';
export { Deletions } from './deletions.ts';
export { FindDialog, KeysDialog, ProfileDialog } from './dialogs.tsx';
export { Followed } from './followed.tsx';
export { HidingBar } from './hide.tsx';
export { keep } from './keep.ts';
export { People, Works } from './people.tsx';
export { Plugs } from './plugs.tsx';
export { Offer, SignIn } from './signin.tsx';
