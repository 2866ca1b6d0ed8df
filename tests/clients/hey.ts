// The SDK of @hey-api/openapi-ts.
import { client } from "./hey/client.gen";
import { getV1TasksId, postV1Tasks } from "./hey/sdk.gen";

client.setConfig({ baseUrl: process.env.CALLBRIDGE_URL!, auth: () => process.env.CALLBRIDGE_KEY! });
const submitted = await postV1Tasks({
  throwOnError: true,
  body: {
    provider: "piapi",
    model: "Qubico/flux1-schnell",
    task_type: "txt2img",
    input: { prompt: "a cat [sandbox: delay=0.05]" },
  },
});
const finished = await getV1TasksId({
  throwOnError: true,
  path: { id: submitted.data.id },
  headers: { Prefer: "wait=20" },
});
console.log(finished.data.status, finished.data.output?.url);
