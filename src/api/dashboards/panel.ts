/** What a dashboard is made of, and its JSON as Grafana reads it. */

export type Unit = "short" | "s" | "ops" | "percentunit" | "dateTimeFromNow" | "bytes";

export interface Query {
  readonly expr: string;
  /** How each series is named, with labels as `{{label}}`. */
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** One sentence: what it shows, or what to do. */
  readonly about: string;
  /** Default: lines over time. */
  readonly kind?: "lines" | "stat" | "bars";
  readonly unit?: Unit;
  readonly queries: readonly Query[];
  /** From this value on it is shown in red. */
  readonly bad?: number;
  readonly link?: { readonly title: string; readonly url: string };
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly about: string;
  readonly rows: readonly Row[];
}

const WIDTH = 24;
const A = 65;
const SIZES = { stat: { w: 4, h: 4 }, bars: { w: 8, h: 8 }, lines: { w: 8, h: 8 } } as const;
const TYPES = { stat: "stat", bars: "bargauge", lines: "timeseries" } as const;
const DATASOURCE = { type: "prometheus", uid: "${datasource}" } as const;

/** The queries of all panels. */
export function queriesOf({ rows }: Dashboard): readonly string[] {
  return rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.map(({ expr }) => expr)));
}

export function dashboardJSON({ uid, title, about, rows }: Dashboard): object {
  let y = 0;
  let id = 0;
  const panels: object[] = [];
  for (const row of rows) {
    panels.push({
      id: (id += 1),
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: WIDTH, h: 1 },
      panels: [],
    });
    y += 1;
    let x = 0;
    let highest = 0;
    for (const panel of row.panels) {
      const { w, h } = SIZES[panel.kind ?? "lines"];
      if (x + w > WIDTH) [x, y, highest] = [0, y + highest, 0];
      panels.push({ id: (id += 1), ...panelJSON(panel), gridPos: { x, y, w, h } });
      x += w;
      highest = Math.max(highest, h);
    }
    y += highest;
  }
  return {
    uid,
    title,
    description: about,
    tags: ["unified-rbac"],
    schemaVersion: 39,
    editable: false,
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    templating: { list: [{ name: "datasource", label: "Data source", type: "datasource", query: "prometheus" }] },
    links: [{ type: "dashboards", title: "unified-rbac", tags: ["unified-rbac"], asDropdown: true, includeVars: true }],
    panels,
  };
}

function panelJSON({ title, about, kind = "lines", unit = "short", queries, bad, link }: Panel): object {
  const steps = [{ color: "green", value: null }, ...(bad === undefined ? [] : [{ color: "red", value: bad }])];
  return {
    type: TYPES[kind],
    title,
    description: about,
    datasource: DATASOURCE,
    ...(link === undefined ? {} : { links: [{ ...link, targetBlank: true }] }),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        color: { mode: kind === "lines" ? "palette-classic" : "thresholds" },
        thresholds: { mode: "absolute", steps },
      },
      overrides: [],
    },
    options:
      kind === "lines"
        ? { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } }
        : { reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false }, orientation: "auto" },
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCodePoint(A + index),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
      ...(kind === "lines" ? {} : { instant: true }),
    })),
  };
}
