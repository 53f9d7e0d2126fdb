/** The answers of the gateway, as far as the console reads them. docs/console.md and docs/admin.md describe them. */

export interface Series { step_ms: number; from: number; names: string[]; rows: (number | null)[][] }
export interface Change { id: number; time: number; kind: string; text: string; reference?: string }
export interface Instance {
  name: string; state: string; age_ms: number; version?: string; since?: number; phase?: string; connections?: number; connections_max?: number;
  connects_per_s?: number; publishes_per_s?: number; deliveries_per_s?: number; publish_p99_us?: number; memory_bytes?: number; level?: string; url?: string;
}
export interface Check {
  state: string; kind: string; criticality: string; since: number; last_success?: number; looked_at?: number; latency_us?: { p50: number; p99: number };
  breakers: Record<string, string>; lost: string[]; reference?: string;
}
export interface Outage { reference: string; since: number; lasted_ms: number; fault: string; output: string; look_at: string }
export interface Probe { time: number; latency_us: number; ok: boolean; warning?: string; output?: string }
export interface Dependency extends Check {
  name: string; now: number; address: string; forced?: { to: string; for_ms: number }; warning?: string; fault?: string; output?: string; look_at?: string;
  probes: Probe[]; outages: Outage[];
}
export interface SloShort {
  name: string; state: string; left_ppm: number | null; burn_1h_milli: number | null; burn_6h_milli: number | null; gone_s: number | null;
}
export interface AlertShort { number: number; severity: string; title: string; since: number; acknowledged: number | null }
export interface Drain {
  phase: string; cause?: string; since?: number; elapsed_ms?: number; connections: number; moved: number; stragglers: number;
  unfinished: { appends: number; closes: number; bytes: number };
  plan: { accept_ms: number; spread_ms: number; close_ms: number; exit_ms: number; return_ms: number };
}
export interface LiveAnswer {
  instance: string; boot: number; version: string; scope: 'operate' | 'read'; now: number; tick: number;
  status: { level: string; lost: string[]; message?: string }; status_since: number; connections_max: number; series: Series;
  cluster: { complete: boolean; leader?: string | null; instances: Instance[]; totals: { instances: number; connections: number } };
  health: { checks: Record<string, [Check]>; admission: string }; drain: Drain; slos: SloShort[]; alerts: AlertShort[]; changes: Change[];
}
export interface SloPart {
  part: string; unit: string; good: number; bad: number; excluded: number; spent: number; allowed: number; now_ppm: number | null;
  budget_left_ppm: number | null; burn_1h_milli: number | null; burn_6h_milli: number | null; gone_s: number | null; state: string;
}
export interface Slo {
  name: string; allowed_ppm: number; period_days: number; state: string; worst: string | null; measured_ppm: number; provisional: boolean; parts: SloPart[];
}
export interface SloReport { judged: number; instance: string; instances: number; objectives: Slo[] }
export interface Incident {
  number: number; alert: string; severity: string; title: string; text: string; since: number; reference?: string; acknowledged?: number;
  end?: { at_ms: number }; held?: string; runbook: string; notified: { channel: string; at_ms: number }[];
}
export interface AlertReport {
  judged: number; mode: string; sends: boolean; incidents: Incident[];
  silences: { number: number; prefix: string; until_ms: number; why: string }[];
  channels: { channel: string; waiting: number; sent: number | null; fault?: string; dead: number }[];
}
export interface ErrorGroup {
  fingerprint: string; name: string; message: string; levels: string[]; count: number; users: number; users_more: boolean; releases: string[];
  since: number; seen: number; hours: number[]; muted_until: number | null;
}
export interface ErrorSample { message: string; stack: string; component: string; context: Record<string, string> }
export interface WholeErrorGroup extends ErrorGroup { first: ErrorSample; newest: ErrorSample }
export interface ErrorReport { groups: ErrorGroup[]; groups_max: number; dropped: { client: number; new_groups: number } }
export interface Flag { name: string; rollout: number; users: string[]; clients: string[]; off: boolean }
export interface RelayRoute {
  route: string; dependency: string | null; concurrency: number; waiting: number; oldest_ms: number | null; attempts: number; claims: number; dead: number;
  in_flight: number; paused: boolean; outage?: string | null; requests: Record<string, number>;
}
export interface RelayReport {
  now_ms: number; routes: RelayRoute[]; unrouted: number; complete: boolean;
  stuck: { channel: string; cursor: number; head: number; attempts: number; oldest_ms: number | null }[];
}
export interface DeadLetter { number: number; route: string; channel: string; offset: number; through: number; cause: string; status: number | null; time_ms: number }
/** The messages that a replay has sent, and the offset that the next one is to begin with. */
export interface RelayReplay { route: string; channel: string; sent: { offset: number; outcome: string }[]; next: number | null }
export interface RelayTry { route: string; outcome: string; took_ms: number; status?: number; error?: string; body?: string; cut?: boolean }
export interface Setting { section: string; key: string; value: string | null; origin: string; applies: string }
