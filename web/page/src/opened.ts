// How the page opens channels.

/** The newest messages, and the most missed ones to catch up on; if more were missed, only the newest are shown. */
export const OPENED = { last: 50, catchUp: 1_000, window: 2_000 };

/** This user is shown to others in the channels of the list, and sees the others. */
export const PRESENT = { ...OPENED, present: {}, watch: 'members' } as const;
