import { budget, burn, lasting, percent, short } from '../format.ts';
import { Bar, Card, Fault, State, Table, useAnswer } from '../parts.tsx';
import { link } from '../route.ts';
import type { Slo, SloPart, SloReport } from '../types.ts';
import type { PageProps } from './overview.tsx';

const tone = (state: string) => (state === 'kept' ? 'good' : state === 'spent' || state === 'burning' ? 'bad' : 'wait');
const target = (slo: Slo) => percent(1e6 - slo.allowed_ppm);
const worst = (slo: Slo): SloPart | undefined => slo.parts.find((part) => part.part === slo.worst);

/** When the budget is gone, at the rate of the last six hours. */
function gone(part: SloPart | undefined): string {
  if (part === undefined || part.budget_left_ppm === null) return 'untouched: no events';
  if (part.budget_left_ppm <= 0) return 'spent';
  return part.gone_s === null ? 'lasts at this rate' : `in ${lasting(part.gone_s * 1_000)} at this rate`;
}

/** The meaning of the figures, in a sentence. */
function meaning(slo: Slo, part: SloPart): string {
  if (part.budget_left_ppm === null) return 'There were no events in this period, so the budget is untouched.';
  const left = part.budget_left_ppm <= 0 ? 'Nothing is left.' : `${budget(part.budget_left_ppm)} is left; it ${part.gone_s === null ? 'lasts at this rate' : `is gone ${gone(part)}`}.`;
  return `${short(part.bad)} bad ${part.unit} in ${slo.period_days} d: ${short(part.spent)} of ${short(part.allowed)} that may be bad are spent. ${left}`;
}

export function Slos({ live, answer, options }: PageProps) {
  const { answer: report, fault } = useAnswer<SloReport>('../slo', answer.slos.length === 0 ? 0 : live.at);
  const chosen = report?.objectives.find((slo) => slo.name === options.get('slo')) ?? report?.objectives[0];
  return (
    <>
      <div class="title"><h1>SLOs</h1></div>
      <Fault text={report === undefined ? fault : undefined} />
      {report !== undefined && (
        <Card title="Objectives" wide aside={report.instances > 1 ? `of ${report.instances} instances` : 'of this instance'}>
          <Table
            label="objectives" rows={report.objectives} id={(slo) => slo.name} empty="No objective is configured."
            columns={[
              { title: 'Objective', cell: (slo) => <a class="word" href={link('slos', { slo: slo.name })} aria-current={slo === chosen ? 'true' : undefined}>{slo.name}</a> },
              { title: 'State', cell: (slo) => <State of={slo.state} /> },
              { title: 'Target', isNumber: true, cell: (slo) => <>{target(slo)} <small>{slo.period_days} d</small></> },
              { title: 'Now', isNumber: true, cell: (slo) => percent(worst(slo)?.now_ppm) },
              { title: 'Budget left', cell: (slo) => <BudgetBar part={worst(slo)} state={slo.state} /> },
              { title: 'Burn 1 h', isNumber: true, cell: (slo) => burn(worst(slo)?.burn_1h_milli) },
              { title: 'Burn 6 h', isNumber: true, cell: (slo) => burn(worst(slo)?.burn_6h_milli) },
              { title: 'Budget gone', cell: (slo) => gone(worst(slo)) },
            ]}
          />
        </Card>
      )}
      {report !== undefined && chosen !== undefined && <OneSlo slo={chosen} report={report} />}
    </>
  );
}

function BudgetBar({ part, state }: { part: SloPart | undefined; state: string }) {
  if (part?.budget_left_ppm === null || part === undefined) return <span class="quiet">no events</span>;
  return <span class="with-bar"><Bar share={part.budget_left_ppm / 1e6} tone={tone(state)} /> <b>{budget(part.budget_left_ppm)}</b></span>;
}

function OneSlo({ slo, report }: { slo: Slo; report: SloReport }) {
  const part = worst(slo) ?? slo.parts[0];
  return (
    <Card title={slo.name} wide aside={`${target(slo)} over ${slo.period_days} d`}>
      {part !== undefined && <p class="prose">{meaning(slo, part)}</p>}
      {slo.provisional && <p class="prose quiet">Less than {slo.period_days} days are known, so this is the budget of a whole period at the present rate of events.</p>}
      {slo.measured_ppm < 1e6 && <p class="prose quiet">{report.instances > 1 ? 'At least one instance' : report.instance} ran for {percent(slo.measured_ppm, 1)} of the known time; the rest is not counted.</p>}
      <Table
        label={`parts of ${slo.name}`} rows={slo.parts} id={(one) => one.part} empty="No part."
        columns={[
          { title: 'Part', cell: (one) => one.part },
          { title: 'State', cell: (one) => <State of={one.state} /> },
          { title: 'Good', isNumber: true, cell: (one) => short(one.good) },
          { title: 'Bad', isNumber: true, cell: (one) => short(one.bad) },
          { title: 'Not counted', isNumber: true, cell: (one) => short(one.excluded) },
          { title: 'Bad of allowed', isNumber: true, cell: (one) => `${short(one.spent)} of ${short(one.allowed)}` },
          { title: 'Budget left', cell: (one) => <BudgetBar part={one} state={one.state} /> },
        ]}
      />
    </Card>
  );
}
