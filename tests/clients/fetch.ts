// The types of openapi-typescript with openapi-fetch.
import createClient from "openapi-fetch";
import type { paths } from "./schema";

const client = createClient<paths>({
  baseUrl: process.env.CALLBRIDGE_URL!,
  headers: { Authorization: `Bearer ${process.env.CALLBRIDGE_KEY}` },
});
const submitted = await client.POST("/v1/tasks", {
  body: {
    provider: "piapi",
    model: "Qubico/flux1-schnell",
    task_type: "txt2img",
    input: { prompt: "a cat [sandbox: delay=0.05]" },
  },
});
if (!submitted.data) throw new Error(submitted.error.detail);
const finished = await client.GET("/v1/tasks/{id}", {
  params: { path: { id: submitted.data.id }, header: { Prefer: "wait=20" } },
});
if (!finished.data) throw new Error(finished.error.detail);
console.log(finished.data.status, finished.data.output?.url);
