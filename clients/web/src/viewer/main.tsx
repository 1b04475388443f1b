import { render } from "preact";
import "../shared/base.css";
import { App } from "./app";
import { enter } from "./room";
import "./viewer.css";
import "./sheet.css";

render(<App />, document.getElementById("app")!);
enter();
