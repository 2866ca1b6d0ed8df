// The functions of orval, with its fetch client.
import { getV1TasksId, postV1Tasks } from "./orval/callbridge";

const authorization = { Authorization: `Bearer ${process.env.CALLBRIDGE_KEY}` };
const submitted = await postV1Tasks(
  {
    provider: "piapi",
    model: "Qubico/flux1-schnell",
    task_type: "txt2img",
    input: { prompt: "a cat [sandbox: delay=0.05]" },
  },
  { headers: authorization },
);
if (submitted.status !== 202) throw new Error(String(submitted.status));
const finished = await getV1TasksId(submitted.data.id, { headers: { ...authorization, Prefer: "wait=20" } });
if (finished.status !== 200) throw new Error(String(finished.status));
console.log(finished.data.status, finished.data.output?.url);
