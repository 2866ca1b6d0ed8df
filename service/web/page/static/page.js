import { keepLive } from "./live.js";
import { offerCopies } from "./copy.js";
import { keepTimes } from "./times.js";

keepTimes();
offerCopies();
keepLive(offerCopies);
