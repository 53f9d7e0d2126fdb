/** Lines over time, drawn in px at the measured width, so that text never scales. */

import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { axisTime, clock, type Value } from './format.ts';

export interface Line { label: string; values: Value[]; tone?: 'one' | 'two' | 'three' | 'four' | 'plan' }
export interface Mark { time: number; text: string }

const LEFT = 54;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 22;
const TABLE_ROWS = 24;
const TONES = ['one', 'two', 'three', 'four'] as const;

/** The top of an axis: a short number, not below the highest value. */
export function ceiling(highest: number): number {
  if (!(highest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  return ([1, 1.5, 2, 3, 4, 6, 8, 10].find((factor) => factor * power >= highest * 0.999) ?? 10) * power;
}

/** The path of a line: a gap breaks it, and a value between two gaps is a dot. */
export function path(values: Value[], x: (at: number) => number, y: (value: number) => number): string {
  let text = '';
  let isOn = false;
  values.forEach((value, at) => {
    if (value === null || value === undefined || !Number.isFinite(value)) {
      isOn = false;
      return;
    }
    const next = values[at + 1];
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    text += isOn ? `L${place}` : `M${place}`;
    if (!isOn && (next === null || next === undefined)) text += 'h.01';
    isOn = true;
  });
  return text;
}

/** The place of the time nearest to `wanted`. */
export function nearest(times: number[], wanted: number): number {
  let [low, high] = [0, times.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < wanted) low = middle;
    else high = middle;
  }
  return Math.abs((times[low] ?? 0) - wanted) <= Math.abs((times[high] ?? 0) - wanted) ? low : Math.max(0, high);
}

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const node = box.current;
    if (node === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  return [box, width] as const;
}

export interface PlotProps {
  title: string; unit: string; times: number[]; lines: Line[]; format: (value: Value) => string;
  marks?: Mark[]; height?: number; from?: number; until?: number;
}

export function Plot({ title, unit, times, lines, format, marks = [], height = 168, from, until }: PlotProps) {
  const [box, width] = useWidth();
  const [at, setAt] = useState<number>();
  const [isTable, setIsTable] = useState(false);
  const id = useId();
  const [first, last] = [from ?? times[0] ?? 0, until ?? times.at(-1) ?? 1];
  const span = Math.max(1, last - first);
  const known = lines.flatMap((line) => line.values).filter((value): value is number => typeof value === 'number');
  const highest = known.reduce((most, value) => Math.max(most, value), 0);
  const top = ceiling(highest);
  const inner = Math.max(1, width - LEFT - RIGHT);
  const x = (time: number) => LEFT + ((time - first) / span) * inner;
  const y = (value: number) => TOP + (1 - value / top) * (height - TOP - BOTTOM);
  const place = at === undefined ? times.length - 1 : Math.min(at, times.length - 1);
  const time = times[place];
  const tone = (line: Line, order: number) => line.tone ?? TONES[order] ?? 'one';
  const count = Math.max(2, Math.min(6, Math.floor(inner / 84)));
  const ticks = Array.from({ length: count }, (_, tick) => first + (span * tick) / (count - 1));
  const move = (event: PointerEvent & { currentTarget: SVGSVGElement }) => {
    const left = event.currentTarget.getBoundingClientRect().left;
    setAt(nearest(times, first + ((event.clientX - left - LEFT) / inner) * span));
  };
  const step = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    setAt(Math.max(0, Math.min(times.length - 1, place + by)));
  };
  const newest = (line: Line) => line.values.findLast((value) => value !== null && value !== undefined);
  const spoken = `${title}, ${unit}. ${lines.map((line) => `${line.label}: now ${format(newest(line))}, at most ${format(peak(line.values))}`).join('; ')}`;
  let free = -Infinity;
  const shown = marks.filter((mark) => mark.time >= first && mark.time <= last).map((mark) => {
    const left = x(mark.time);
    const isNamed = left > free && left < width - 90;
    if (isNamed) free = left + mark.text.length * 6.4 + 12;
    return { ...mark, left, isNamed };
  });
  return (
    <section class="card plot" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        <span class="quiet">{unit}</span>
        <button type="button" class="plain" aria-pressed={isTable} onClick={() => setIsTable(!isTable)}>{isTable ? 'as plot' : 'as table'}</button>
      </header>
      <p class="legend">
        {lines.map((line, order) => (
          <span key={line.label}><i class={`key ${tone(line, order)}`} /> {line.label} <b>{format(at === undefined ? newest(line) : line.values[place])}</b></span>
        ))}
        <span class="quiet when">{time === undefined ? '' : at === undefined ? 'now' : clock(time)}</span>
      </p>
      <div ref={box} class="canvas">
        {isTable && <PlotTable times={times} lines={lines} format={format} />}
        {!isTable && known.length === 0 && <p class="empty">No values in this span yet.</p>}
        {!isTable && known.length > 0 && width > 0 && (
          <svg width={width} height={height} role="img" aria-label={spoken} tabIndex={0} onPointerMove={move} onPointerLeave={() => setAt(undefined)} onKeyDown={step} onBlur={() => setAt(undefined)}>
            {[0, 0.5, 1].map((part) => (
              <g key={part}>
                <line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(top * part)} y2={y(top * part)} />
                <text x={LEFT - 6} y={y(top * part) + 4} text-anchor="end">{format(top * part)}</text>
              </g>
            ))}
            {ticks.map((tick, order) => (
              <text key={order} x={x(tick)} y={height - 4} text-anchor={order === 0 ? 'start' : order === count - 1 ? 'end' : 'middle'}>{axisTime(tick, span)}</text>
            ))}
            {shown.map((mark) => (
              <g key={`${mark.time}${mark.text}`} class="mark">
                <line x1={mark.left} x2={mark.left} y1={TOP} y2={height - BOTTOM}><title>{mark.text}</title></line>
                {mark.isNamed && <text x={mark.left + 3} y={TOP + 9}>{mark.text}</text>}
              </g>
            ))}
            {lines.map((line, order) => <path key={line.label} class={`line ${tone(line, order)}`} d={path(line.values, (one) => x(times[one] ?? 0), y)} />)}
            {at !== undefined && time !== undefined && <line class="cross" x1={x(time)} x2={x(time)} y1={TOP} y2={height - BOTTOM} />}
          </svg>
        )}
      </div>
    </section>
  );
}

const peak = (values: Value[]): Value => values.reduce<Value>((most, value) => (value === null || value === undefined ? most : Math.max(most ?? value, value)), undefined);

function PlotTable({ times, lines, format }: Pick<PlotProps, 'times' | 'lines' | 'format'>) {
  const every = Math.max(1, Math.ceil(times.length / TABLE_ROWS));
  const places = times.map((_, at) => at).filter((at) => (times.length - 1 - at) % every === 0).reverse();
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="values">
      <table class="plain-table">
        <thead><tr><th scope="col">Time</th>{lines.map((line) => <th key={line.label} scope="col" class="number">{line.label}</th>)}</tr></thead>
        <tbody>
          {places.map((at) => (
            <tr key={times[at]}><td>{clock(times[at] ?? 0)}</td>{lines.map((line) => <td key={line.label} class="number">{format(line.values[at])}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A line without axes, for a card. */
export function Spark({ times, values }: { times: number[]; values: Value[] }) {
  const [box, width] = useWidth();
  const height = 32;
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 1];
  const top = ceiling(values.reduce<number>((most, value) => Math.max(most, value ?? 0), 0));
  const x = (at: number) => (((times[at] ?? 0) - first) / Math.max(1, last - first)) * width;
  return (
    <div ref={box} class="spark" aria-hidden="true">
      {width > 0 && <svg width={width} height={height}><path class="line one" d={path(values, x, (value) => height - 2 - (value / top) * (height - 4))} /></svg>}
    </div>
  );
}
