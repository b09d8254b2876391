import { httpOk } from "../probe.ts";
import { dataDir, program, type Part } from "./part.ts";

export const nats: Part = {
  name: "nats",
  title: "NATS",
  needs: [],
  command: (context) => ({
    file: program(context, "nats-server"),
    args: [
      "--jetstream",
      "--addr=127.0.0.1",
      `--port=${context.ports.nats}`,
      `--http_port=${context.ports.natsMonitor}`,
      `--store_dir=${dataDir(context, "nats")}`,
    ],
  }),
  ready: ({ env }) => httpOk(`${env.NATS_MONITOR_URL}/healthz`),
};
