/** How much of everything: `full` is what docs/performance.md says, `tiny` only shows that it works. */
export interface Sizes {
  readonly runs: number;
  readonly admission: { readonly warmSeconds: number; readonly seconds: number; readonly connections: number };
  readonly applies: number;
  readonly singles: number;
  readonly bursts: readonly [small: number, large: number];
  readonly burstTenants: number;
  readonly pushes: number;
  readonly crowds: readonly [small: number, large: number];
  readonly rows: readonly [small: number, large: number];
  readonly lookups: number;
  readonly rest: { readonly users: number; readonly settleSeconds: number; readonly seconds: number };
  readonly namespaces: number;
  readonly replicas: { readonly users: number; readonly latencyMs: number };
}

export const SIZES = {
  full: {
    runs: 3,
    admission: { warmSeconds: 2, seconds: 4, connections: 16 },
    applies: 300,
    singles: 50,
    bursts: [1_000, 5_000],
    burstTenants: 4,
    pushes: 3,
    crowds: [1_000, 10_000],
    rows: [10_000, 1_000_000],
    lookups: 200,
    rest: { users: 1_000, settleSeconds: 20, seconds: 40 },
    namespaces: 1_000,
    replicas: { users: 120, latencyMs: 100 },
  },
  tiny: {
    runs: 1,
    admission: { warmSeconds: 0.3, seconds: 1, connections: 16 },
    applies: 10,
    singles: 3,
    bursts: [20, 40],
    burstTenants: 2,
    pushes: 1,
    crowds: [50, 200],
    rows: [500, 5_000],
    lookups: 10,
    rest: { users: 10, settleSeconds: 2, seconds: 65 },
    namespaces: 20,
    replicas: { users: 20, latencyMs: 100 },
  },
} as const satisfies Record<string, Sizes>;

export type Scale = keyof typeof SIZES;

export function isScale(name: string): name is Scale {
  return name in SIZES;
}
