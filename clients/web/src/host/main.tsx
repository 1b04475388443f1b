/** The host console. */

import { render } from "preact";
import "../shared/base.css";
import "uplot/dist/uPlot.min.css";
import "./desk.css";
import "./parts.css";
import "./forms.css";
import { App } from "./app";

render(<App />, document.getElementById("app")!);
