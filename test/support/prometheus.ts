/** A real Prometheus that scrapes the product each second, and what it says. It ends, and its data go, with `close`. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import * as z from "zod";
import { type Rule, ruleFile } from "./alertRules.ts";
import { prometheusPrograms } from "./prometheusPrograms.ts";
import { freePort } from "./role.ts";
import { soon } from "./soon.ts";

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus {
  query(expression: string): Promise<readonly Sample[]>;
  /** Names of the alerts that fire now. */
  firing(): Promise<readonly string[]>;
  close(): Promise<void>;
}

const answer = z.object({
  data: z.object({
    result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) })),
  }),
});
const alerts = z.object({
  data: z.object({
    alerts: z.array(z.object({ state: z.string(), labels: z.looseObject({ alertname: z.string() }) })),
  }),
});

/** `targets`: host and port of each process, known from the start. `change` shortens what nobody can wait for. */
export async function startPrometheus(targets: readonly string[], change: (rule: Rule) => Rule): Promise<Prometheus> {
  const { prometheus } = await prometheusPrograms();
  const folder = mkdtempSync(join(tmpdir(), "unified-rbac-prometheus-"));
  const port = await freePort();
  const config = {
    global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
    rule_files: ["rules.yaml"],
    scrape_configs: [{ job_name: "unified-rbac", static_configs: [{ targets }] }],
  };
  writeFileSync(join(folder, "prometheus.yaml"), stringify(config));
  writeFileSync(join(folder, "rules.yaml"), ruleFile(change, "1s"));
  const child = spawn(
    prometheus,
    [
      `--config.file=${join(folder, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const said: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => void said.push(chunk.toString()));
  const ask = async (path: string): Promise<unknown> => {
    if (child.exitCode !== null) throw new Error(`Prometheus has ended: ${said.join("").slice(-2_000)}`);
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  await soon(() => ask("/api/v1/status/buildinfo"));
  return {
    async query(expression) {
      const asked = new URLSearchParams({ query: expression });
      const { data } = answer.parse(await ask(`/api/v1/query?${asked.toString()}`));
      return data.result.map(({ metric: labels, value }) => ({ labels, value: Number(value[1]) }));
    },
    async firing() {
      const { data } = alerts.parse(await ask("/api/v1/alerts"));
      return data.alerts.filter(({ state }) => state === "firing").map(({ labels }) => labels.alertname);
    },
    async close() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
