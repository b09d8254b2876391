import { httpOk } from "../probe.ts";
import { dataDir, program, type Context, type Part } from "./part.ts";

const clientUrl = ({ ports }: Context): string => `http://127.0.0.1:${ports.etcd}`;

export const etcd: Part = {
  name: "etcd",
  title: "etcd",
  needs: [],
  command: (context) => {
    const peerUrl = `http://127.0.0.1:${context.ports.etcdPeer}`;
    return {
      file: program(context, "etcd"),
      args: [
        `--data-dir=${dataDir(context, "etcd")}`,
        `--listen-client-urls=${clientUrl(context)}`,
        `--advertise-client-urls=${clientUrl(context)}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=default=${peerUrl}`,
        // Every write of the control plane would wait for the disk. A killed process loses nothing by
        // it, only a power cut would.
        "--unsafe-no-fsync",
        "--log-level=warn",
      ],
    };
  },
  ready: (context) => httpOk(`${clientUrl(context)}/health`),
};
